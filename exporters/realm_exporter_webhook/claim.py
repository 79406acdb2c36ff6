"""One process at a time folds a scope: two would fire each rule twice."""

import fcntl
import os
from pathlib import Path
from typing import Final

from realm_telemetry.errors import ExportError

_AGAIN_S: Final = 5.0


class Claim:
    """A lock that ends with the process that has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises ExportError if another process has it, OSError."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise ExportError(
                f"another process holds {self._path}: only one may fire the rules of this home",
                retryable=True,
                retry_after_s=_AGAIN_S,
            ) from None

    def release(self) -> None:
        """Let others have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

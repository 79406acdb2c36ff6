"""Lines that are no events, kept as they are in a file of their own."""

from pathlib import Path
from typing import BinaryIO

from realm_telemetry.filesystem import make_private_directory
from realm_telemetry.history.batches import Broken


class Aside:
    """The file, made with the first line that it gets; an earlier one is written anew.

    directory: None keeps nothing.
    """

    def __init__(self, directory: Path | None, name: str) -> None:
        self._path = None if directory is None else directory / f"{name}.broken"
        self._file: BinaryIO | None = None

    @property
    def path(self) -> str | None:
        """Where lines are kept, None as long as there are none."""
        return str(self._path) if self._file else None

    def keep(self, broken: Broken) -> None:
        """Write a line. Raises OSError."""
        if self._path is None:
            return
        if self._file is None:
            make_private_directory(self._path.parent)
            self._file = self._path.open("wb")
        self._file.write(broken.data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

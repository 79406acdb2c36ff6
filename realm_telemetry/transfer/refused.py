"""Lines that are no events, kept in a file of their own, as they are, to be mended and imported.

Beside it stands a file that says of each which number it had, and why it could not be taken.
"""

from pathlib import Path
from typing import BinaryIO

from realm_telemetry.home import make_private_directory
from realm_telemetry.transfer.batches import Broken


class Aside:
    """The two files, made with the first line that they get; earlier ones are written anew.

    directory: None keeps nothing. unit: what the numbers count, line or row.
    """

    def __init__(self, directory: Path | None, name: str, unit: str) -> None:
        self._directory = directory
        self._broken = Path(directory or "", f"{name}.broken")
        self._why = Path(directory or "", f"{name}.reasons")
        self._unit = unit
        self._lines: BinaryIO | None = None
        self._reasons: BinaryIO | None = None

    @property
    def path(self) -> str | None:
        """Where lines are kept, None as long as there are none."""
        return str(self._broken) if self._lines else None

    def keep(self, broken: Broken) -> None:
        """Write a line. Raises OSError."""
        if self._directory is None:
            return
        if self._lines is None or self._reasons is None:
            make_private_directory(self._directory)
            self._lines = self._broken.open("wb")
            self._reasons = self._why.open("wb")
        self._lines.write(broken.data)
        if broken.reason:
            self._reasons.write(f"{self._unit} {broken.number}: {broken.reason}\n".encode())

    def close(self) -> None:
        """Close the files."""
        for file in (self._lines, self._reasons):
            if file is not None:
                file.close()

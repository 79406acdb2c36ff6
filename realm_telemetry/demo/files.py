"""Files that are either all there or not there at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place only once the block is through.

    A reader, or a crash, never meets half of it.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("wb") as file:
            yield file
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def visible(directory: Path) -> list[Path]:
    """Return what is in a directory, by name, without what is being written."""
    return sorted(path for path in directory.iterdir() if not path.name.startswith("."))

"""Say a thing to the person at the terminal, once a process."""

import os
import sys
from types import FrameType

_said: set[str] = set()


def warn_once(key: str, text: str) -> None:
    """Print a warning to stderr, the first time for this key. Never raises."""
    if key in _said:
        return
    _said.add(key)
    try:
        os.write(2, f"realm_telemetry: {text}\n".encode("utf-8", "replace"))
    except OSError:  # stderr is closed
        return


def mistake(error: Exception) -> None:
    """A programmer's mistake: warn once, but under pytest raise.

    Raises the error if `PYTEST_CURRENT_TEST` is set.
    """
    if "PYTEST_CURRENT_TEST" in os.environ:
        raise error
    warn_once(str(error), f"{error} (called at {_caller()})")


def _caller() -> str:
    """The innermost place outside this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("realm_telemetry."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"

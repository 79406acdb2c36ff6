"""Say a thing to the person at the terminal, once a process."""

import os
import sys

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
    frame = sys._getframe(2)
    warn_once(str(error), f"{error} (called at {frame.f_code.co_filename}:{frame.f_lineno})")

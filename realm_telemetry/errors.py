"""What can go wrong, split by who is at fault; and warnings on stderr, once a process."""

import os
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final


def counted(count: int, noun: str) -> str:
    """Return a number with its noun in singular or plural."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shown(text: str) -> str:
    """Return a message as people may see it: without the secrets of addresses and headers."""
    if "//" not in text and "=" not in text and "uthorization" not in text:
        return text  # nearly always; the rules are imported where they are needed
    from realm_telemetry.redaction import shown as without_secrets

    return without_secrets(text)


class ConfigError(Exception):
    """The user set something up wrongly; names the setting and the fix."""

    def __init__(self, setting: str, problem: str, fix: str) -> None:
        self.setting = setting
        self.problem = problem = shown(problem)
        self.fix = fix = shown(fix)
        super().__init__(f"{setting}: {problem}. {fix}")


class ExportError(Exception):
    """The other side of an export failed.

    retryable: whether the same events may be accepted later.
    retry_after_s: seconds the other side asked to wait, if it did.
    rejected_ids: event ids it will never accept; the others of the batch were taken.
    rejected_count: how many more of those it will never accept, where it does not say which.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        retry_after_s: float | None = None,
        rejected_ids: Sequence[str] = (),
        rejected_count: int = 0,
    ) -> None:
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.rejected_ids = tuple(rejected_ids)
        self.rejected_count = rejected_count
        super().__init__(shown(message))


class NotYetError(ExportError):
    """Nothing is wrong: an exporter gathers events, and wants to be asked again after a while."""

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        super().__init__(
            f"asked to come back in {after_s:g} s", retryable=True, retry_after_s=after_s
        )


class PayloadTooLargeError(ValueError):
    """A body is over the limit that its reader or writer keeps."""


class LogError(Exception):
    """The log cannot be used as it is; the message says why and what to do."""


MAX_WARNINGS: Final = 100
"""Different ones of a process: a text that is of each event must neither fill memory nor stderr."""
MAX_WARNING_CHARS: Final = 2_000
_warned: set[str] = set()


def warn_once(key: str, text: str) -> None:
    """Print a warning to stderr, the first time for this key. Never raises."""
    key = key[:MAX_WARNING_CHARS]
    if key in _warned or len(_warned) > MAX_WARNINGS:
        return
    _warned.add(key)
    if len(_warned) > MAX_WARNINGS:
        text = f"{MAX_WARNINGS} different warnings were shown; no more are"
    text = shown(text)
    if len(text) > MAX_WARNING_CHARS:
        text = text[:MAX_WARNING_CHARS] + "…"
    try:
        os.write(2, f"realm_telemetry: {text}\n".encode("utf-8", "replace"))
    except OSError:  # stderr is closed
        return


def mistake(error: Exception) -> None:
    """Report a programmer's mistake: warn once, but under pytest raise.

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

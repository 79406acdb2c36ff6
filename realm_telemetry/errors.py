"""What can go wrong, split by who is at fault."""

from collections.abc import Sequence


class ConfigError(Exception):
    """The user set something up wrongly; names the setting and the fix."""

    def __init__(self, setting: str, problem: str, fix: str) -> None:
        self.setting = setting
        self.problem = problem
        self.fix = fix
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
        super().__init__(message)


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

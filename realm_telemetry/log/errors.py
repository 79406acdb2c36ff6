"""What can go wrong with the log, by what the caller should do about it.

An engine translates the errors of its driver into these at its edge; no caller sees the driver.
"""

from realm_telemetry.errors import LogError


class LogUnavailableError(LogError):
    """The log cannot be used now. Try again later: the same call may work then.

    problem: what is wrong. fix: what a person can do, if that is not part of the problem's text.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem}. {fix}" if fix else problem)


class LogReplacedError(LogUnavailableError):
    """The log at the place is not the one that was opened. Open it again, and all that reads it."""


class LogFailedOverError(LogReplacedError):
    """A standby took over that lacks the newest rows; others may get their cursors."""


class LogInterruptedError(LogError):
    """A query was ended by `Reader.interrupt` before it had an answer."""


class LogRefusedError(LogError):
    """The log can never store what was given to it. Do not try again."""

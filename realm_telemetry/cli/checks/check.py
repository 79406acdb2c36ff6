"""A check of `realm doctor`, its result, and what the checks share."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec

from realm_telemetry.config import Settings
from realm_telemetry.errors import shown

Level = Literal["ok", "warning", "problem"]

MARKS: Final[dict[str, str]] = {"ok": "✓", "warning": "!", "problem": "✗"}
STYLES: Final[dict[str, str]] = {"ok": "green", "warning": "yellow", "problem": "red"}


class CheckResult(msgspec.Struct, frozen=True):
    """One line of `realm doctor`, without the secrets of addresses.

    check: what was looked at. fix: what to do; empty if nothing is.
    """

    check: str
    level: Level
    message: str
    fix: str = ""

    def __post_init__(self) -> None:
        """Take secrets out, wherever the words come from."""
        for name in ("message", "fix"):
            msgspec.structs.force_setattr(self, name, shown(getattr(self, name)))


class Subject(msgspec.Struct):
    """What the checks share; earlier ones leave what later ones need.

    timeout_s: the longest that any one check may wait.
    log_id: of the log, once it was opened. client: a RealmClient, once the service answered.
    service_has_log: whether that service serves this log.
    full: whether the log is to be checked whole, however long it takes.
    """

    settings: Settings
    timeout_s: float
    log_id: str | None = None
    client: Any = None
    service_has_log: bool = False
    full: bool = False

    def close(self) -> None:
        """Close what checks opened."""
        if self.client is not None:
            self.client.close()


Check = Callable[[Subject], Iterator[CheckResult]]

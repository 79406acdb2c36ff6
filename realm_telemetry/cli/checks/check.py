"""A check of `realm doctor`, and what the checks share."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from realm_telemetry.config import Settings
from realm_telemetry.shipper.findings import CheckResult

MARKS: Final[dict[str, str]] = {"ok": "✓", "warning": "!", "problem": "✗"}
STYLES: Final[dict[str, str]] = {"ok": "green", "warning": "yellow", "problem": "red"}


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

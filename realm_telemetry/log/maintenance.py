"""What keeps a log small and whole: the part of its interface for those who look after it."""

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from realm_telemetry.log.engine import Writer
    from realm_telemetry.log.records import Trimmed

EXPORTERS: Final = "exporters"
"""The lease under which one of several services delivers."""


class Lease(Protocol):
    """A right that one process has at a time, and loses when it ends."""

    place: str

    def take(self) -> bool:
        """Take it; False while another process has it."""
        ...

    def release(self) -> None:
        """Let others have it."""


class Retention(Protocol):
    """Trims one log, a few rows at a time."""

    def step(self, keep_from: int | None = None) -> "Trimmed":
        """Remove some rows; the cursor `keep_from` and all rows after it stay."""
        ...

    def due(self) -> bool:
        """Whether there is something to trim."""
        ...


class UpkeepClaim(Protocol):
    """One process's claim to do the upkeep of a log, which ends a minute after its last use."""

    def hold(self, writer: "Writer") -> bool:
        """Make or renew the claim; False while another process has it."""
        ...


class Upkeep(Protocol):
    """Maintains one log, one small step at a time, in the thread of a writer."""

    def step(self, writer: "Writer") -> float:
        """Do one step of the next job; seconds until the next."""
        ...

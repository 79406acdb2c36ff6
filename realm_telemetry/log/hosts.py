"""What the services of one log have heard from hosts, where several services share a log."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class SharedBeat(NamedTuple):
    """The last heartbeat of a pipeline of a host.

    content: the heartbeat. age_s: since it came, by one clock for all services.
    """

    host: str
    boot_id: str
    pipeline: str
    content: bytes
    age_s: float


class HostTable(Protocol):
    """One service's view of the table. Every method raises LogUnavailableError."""

    def exchange(self, heard: Sequence[SharedBeat]) -> list[SharedBeat]:
        """Keep what this service has heard; return what others have since the last call.

        The first call returns all that is there. A heartbeat may come a second time.
        """
        ...

    def forget(self, host: str, boot_id: str) -> None:
        """Remove a host that is reported as lost."""

    def close(self) -> None:
        """Release what is held."""

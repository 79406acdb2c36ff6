"""`replay_events` for producers, whose import must not bring the reading side along."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm_telemetry.transfer.replay import ReplayReport


def replay_events(since: Any = None, **options: Any) -> "ReplayReport":
    """Tell a service once more what the log says: `realm.replay_events(since="2025-11-29")`.

    options: of `realm_telemetry.transfer.replay.replay_events`, such as to, speed and filters.
    """
    from realm_telemetry.transfer.replay import replay_events

    return replay_events(since, **options)

"""`core.event_bus.replay_events`: what the log says, told to the service once more."""

from contextlib import closing

from realm_telemetry.client import ServiceUnreachableError
from realm_telemetry.compat.first_use import before_reading
from realm_telemetry.compat.moments import Moment, moment_ns
from realm_telemetry.config import DEFAULT_SERVICE_URL, Settings
from realm_telemetry.log import Filters
from realm_telemetry.transfer.replay import LIVE, replay_to_service
from realm_telemetry.transfer.source import LogSource, open_log


def replay_events(since: Moment | None = None) -> int:
    """Give the service all events since a time (UTC without a zone) again; return how many.

    A service of this log shows them again, and stores nothing; another service stores those that
    it lacks, by the same ids. Nothing is sent to webhooks. See
    `realm_telemetry.transfer.replay.replay_events`.
    Raises ServiceError, LogError; not where no service runs on this host, for it will read the
    log when it starts.
    """
    settings, filters = before_reading(), Filters(since_unix_nano=moment_ns(since, utc=True))
    if not settings.log_path.exists():
        return 0
    try:
        return replay_to_service(settings, filters, LIVE).events
    except ServiceUnreachableError:
        if settings.service_url != DEFAULT_SERVICE_URL:
            raise
        return _count(settings, filters)


def _count(settings: Settings, filters: Filters) -> int:
    with closing(LogSource(open_log(settings))) as source:
        return sum(len(step.rows) for step in source.steps(filters))

"""The upkeep of the log as the service does it: before any shipper, in the writer's thread."""

from realm_telemetry.log.engine import Log, Retention, Writer
from realm_telemetry.log.records import limits_of
from realm_telemetry.service.settings import ServiceSettings


class ServiceUpkeep:
    """Belongs to the writer's thread, but for `covered`."""

    def __init__(self, log: Log, settings: ServiceSettings) -> None:
        self._claim = log.upkeep_claim("service", first=True)
        self._upkeep = log.upkeep(
            limits_of(settings.retention_days, settings.retention_bytes),
            self._retain,
            interval_s=settings.upkeep_interval_s,
        )
        self._covered: dict[str, int] = {}

    def covered(self, fold: str, cursor: int) -> None:
        """Note up to where the log is covered by a snapshot; retention stays below all of them."""
        self._covered[fold] = cursor

    def step(self, writer: Writer) -> float:
        """Do one step of the next job; returns seconds until the next."""
        self._claim.hold(writer)
        return self._upkeep.step(writer)

    def _retain(self, retention: Retention) -> bool:
        return retention.step(min(self._covered.values(), default=0) + 1).more

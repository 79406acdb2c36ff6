"""The upkeep of the log as a shipper does it: in turns without events, where no service does."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from realm_telemetry.config import load_settings
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.log.engine import Writer, open_log
from realm_telemetry.log.maintenance import Retention, Upkeep
from realm_telemetry.log.records import Limits, limits_of
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.values.clock import monotonic

if TYPE_CHECKING:
    from realm_telemetry.shipper.coverage import Coverage

FIRST_AFTER_S: Final = 1.0
"""Within the grace for which a shipper stays, so that a host of short jobs is served too."""

INTERVAL_S: Final = 20.0
"""Once nothing is to be done. A step takes up to 6 ms: every 5 s it would be 0.1 % of a core."""

FAILED_S: Final = 300.0


class ShipperUpkeep:
    """Keeps the log of one pipeline in shape while nothing else is to be done.

    Uses a connection of its own: what goes wrong here must not count as trouble of the log.
    """

    def __init__(
        self, manifest: Manifest, report: Reporter, clock: Callable[[], float] = monotonic
    ) -> None:
        self._manifest = manifest
        self._report = report
        self._clock = clock
        self._log = open_log(manifest.log_path, search_path=Path(manifest.search_path))
        self._claim = self._log.upkeep_claim(f"shipper {manifest.pipeline}")
        self._next_at_s = clock() + FIRST_AFTER_S
        self._failed = False
        self._writer: Writer | None = None
        self._upkeep: Upkeep | None = None
        self._coverage: Coverage | None = None

    def idle(self) -> float:
        """Do one step if it is time for one; returns the seconds until the next."""
        left_s = self._next_at_s - self._clock()
        if left_s > 0:
            return left_s
        try:
            pause_s = self._step()
        except (LogError, ConfigError, OSError) as error:
            self._give_up_for_now(error)
            pause_s = FAILED_S
        self._next_at_s = self._clock() + pause_s
        return pause_s

    def close(self) -> None:
        """Close what is open."""
        for each in (self._writer, self._coverage):
            if each is not None:
                each.close()
        self._writer = self._upkeep = self._coverage = None

    def _step(self) -> float:
        if self._writer is None:
            self._writer = self._log.writer()
        if not self._claim.hold(self._writer):
            return INTERVAL_S
        if self._upkeep is None:
            self._upkeep = self._set_up()
        pause_s = self._upkeep.step(self._writer)
        if self._failed:
            self._failed = False
            self._report.info("the upkeep of the log works again")
        return pause_s

    def _set_up(self) -> Upkeep:
        limits = limits_at(self._manifest.home)
        return self._log.upkeep(limits, self._retain, interval_s=INTERVAL_S)

    def _retain(self, retention: Retention) -> bool:
        """Trim what a snapshot covers; bring that up first where more is to be trimmed."""
        if not retention.due():
            return False
        coverage = self._covering()
        return retention.step(coverage.cursor() + 1).more or coverage.step()

    def _covering(self) -> "Coverage":
        if self._coverage is None:
            from realm_telemetry.shipper.coverage import Coverage

            state_path = load_settings({"home": self._manifest.home}, environ={}).state_path
            self._coverage = Coverage(Path(self._manifest.log_path), state_path, self._clock)
        return self._coverage

    def _give_up_for_now(self, error: Exception) -> None:
        self.close()
        if not self._failed:
            self._failed = True
            self._report.info(f"the upkeep of the log failed ({error}); it is tried again")


class _Retained(msgspec.Struct, frozen=True):
    retention_days: float | None = 30.0
    retention_bytes: int | None = 2048 * 1024 * 1024
    retention_thin_hours: float | None = None


def limits_at(home: str) -> Limits:
    """The bounds of a home's log: those of the table `[service]` in its `realm.toml`.

    Raises ConfigError.
    """
    service = load_settings({"home": home}, environ={}).service
    try:
        chosen = msgspec.convert(service, _Retained)
    except msgspec.ValidationError as error:
        raise ConfigError(
            "[service] in realm.toml", str(error), "docs/http-api.md lists the settings."
        ) from None
    return limits_of(chosen.retention_days, chosen.retention_bytes, chosen.retention_thin_hours)

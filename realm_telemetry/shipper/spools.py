"""The spools of a pipeline: found, looked at cheaply, watched for the end of their producers."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from realm_telemetry.shipper.spool import STAGING_PREFIX, Damage, Spool
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import spool_directories

RESCAN_S: Final = 0.1
FULL_RESCAN_S: Final = 5.0
HOT_S: Final = 2.0
"""A spool without a frame for this long is looked at less often."""

COLD_POLL_S: Final = 0.02
COLD_POLLED_PER_S: Final = 10_000
COLD_RESCAN_S: Final = 5.0
COLD_RESCANNED_PER_S: Final = 50
"""A frame too large for the rest of its segment begins another one, which only a scan finds."""

PROBE_S: Final = 0.5
PROBES_PER_S: Final = 125
STAGING_LEFT_S: Final = 60.0


class Spools:
    """All spools of a pipeline, by producer.

    on_damage: told of bytes that do not check.
    on_trouble: told (directory, error) of a spool that cannot be opened; it is tried again.
    unopened: the producers of those.
    """

    def __init__(
        self, pipeline_dir: Path, on_damage: Damage, on_trouble: Callable[[Path, OSError], None]
    ) -> None:
        self._pipeline_dir = pipeline_dir
        self._on_damage = on_damage
        self._on_trouble = on_trouble
        self.unopened: set[str] = set()
        self._by_producer: dict[str, Spool] = {}
        self._seen_mtime_ns = 0
        self._rescan_at_s = 0.0
        self._full_rescan_at_s = 0.0
        self._cold_at_s = 0.0
        self._turn = 0
        self._hot: list[Spool] = []

    def __iter__(self) -> Iterator[Spool]:
        return iter(list(self._by_producer.values()))

    def __len__(self) -> int:
        return len(self._by_producer)

    def get(self, producer: str) -> Spool | None:
        """The spool of a producer, if it is open here."""
        return self._by_producer.get(producer)

    def refresh(self, now_s: float, *, force: bool = False) -> list[Spool]:
        """Look for new spools, at most ten times a second; those that were found."""
        if now_s < self._rescan_at_s and not force:
            return []
        self._rescan_at_s = now_s + RESCAN_S
        mtime_ns = self._pipeline_dir.stat().st_mtime_ns
        # A directory's time is coarse: what is made just after a scan may not change it.
        recent = abs(time.time_ns() - mtime_ns) < 1_000_000_000
        unchanged = mtime_ns == self._seen_mtime_ns and not recent
        if unchanged and not force and now_s < self._full_rescan_at_s:
            return []
        self._seen_mtime_ns = mtime_ns
        self._full_rescan_at_s = now_s + FULL_RESCAN_S
        return self._scan()

    def ready(self, now_s: float) -> list[Spool]:
        """Spools that may hold a frame, a different one first each time."""
        if now_s >= self._cold_at_s:
            looked_at = self._sweep(now_s)
        else:
            looked_at = self._hot
            for spool in looked_at:
                spool.tick_s = now_s
        found = [spool for spool in looked_at if spool.pending()]
        self._turn += 1
        start = self._turn % len(found) if found else 0
        return found[start:] + found[:start]

    def _sweep(self, now_s: float) -> list[Spool]:
        """All spools; sorts out the hot ones on the way."""
        everyone = list(self._by_producer.values())
        self._cold_at_s = now_s + max(COLD_POLL_S, len(everyone) / COLD_POLLED_PER_S)
        rescan_s = max(COLD_RESCAN_S, len(everyone) / COLD_RESCANNED_PER_S)
        self._hot = [spool for spool in everyone if now_s - spool.last_frame_s < HOT_S]
        for spool in everyone:
            if now_s - spool.tick_s >= rescan_s:
                spool.tick_s = now_s
        return everyone

    def probe(self, now_s: float) -> None:
        """Look after the producers, so many a second at the most."""
        interval_s = max(PROBE_S, len(self._by_producer) / PROBES_PER_S)
        for spool in self._by_producer.values():
            spool.probe(now_s, interval_s)

    def remove(self, spool: Spool) -> None:
        """Delete a spool that is done with."""
        self._by_producer.pop(spool.producer, None)
        self._hot = [other for other in self._hot if other is not spool]
        spool.remove()

    def close(self) -> None:
        """Unmap all."""
        for spool in self._by_producer.values():
            spool.close()
        self._by_producer.clear()
        self._hot.clear()

    def _scan(self) -> list[Spool]:
        found = []
        self.unopened.clear()
        for directory in spool_directories(self._pipeline_dir):
            if directory.name in self._by_producer:
                continue
            try:
                spool = Spool(directory, self._on_damage)
            except OSError as error:
                self.unopened.add(directory.name)
                self._on_trouble(directory, error)
                continue
            self._by_producer[spool.producer] = spool
            self._hot.append(spool)
            found.append(spool)
        return found


def remove_staging(pipeline_dir: Path) -> None:
    """Delete spools that were never published, or not deleted in full: their makers died."""
    for entry in list(os.scandir(pipeline_dir)):
        if not entry.name.startswith(STAGING_PREFIX):
            continue
        directory = Path(entry.path)
        try:
            age_s = time.time() - directory.stat().st_mtime
        except OSError:
            continue
        if age_s > STAGING_LEFT_S and not is_alive(directory):
            shutil.rmtree(directory, ignore_errors=True)

"""Session: the resources that are held while the pipeline's lock is held, and a turn of work."""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import Any, Final

from realm_telemetry.delivery.guarded import GuardedLog
from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.sources import PipelineLog, Recent
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.log.engine import Writer, open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.processors import ResourceProcessor
from realm_telemetry.redaction import redactor
from realm_telemetry.shipper.deliveries import Deliveries
from realm_telemetry.shipper.ends import (
    fatal_signal,
    final_drops,
    is_succeeded,
    job_to_ask_about,
    process_lost,
    runs_ended,
    spool_damaged,
    was_lost,
)
from realm_telemetry.shipper.heartbeat import HostHeartbeat
from realm_telemetry.shipper.intake import Decoding, Intake, build_chain
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.shipper.sampler import Sampler
from realm_telemetry.shipper.scheduler import Inquiries
from realm_telemetry.shipper.spools import Spool, Spools, remove_staging
from realm_telemetry.shipper.upkeep import ShipperUpkeep
from realm_telemetry.shipper.watch import Watch, WatchSettings, watch_settings

SETTLE_S: Final = 0.05
SETTLED_PER_S: Final = 5000
REMEMBERED_ENDS: Final = 1000
DOUBT_S: Final = 0.3
"""How long to look for another explanation before a producer counts as lost."""

RECENT_NS: Final = 5_000_000_000
"""An end longer ago is no end of a program that was started together with this shipper."""

GOES_ON_S: Final = 10.0
"""How long the end of a process may take, once it has lost its lock."""

HISTORY_EXPORTER: Final = "battle_log"


class Session:
    """Spools, log and deliveries of one pipeline.

    progress_at_s: when something was last moved, on `clock`.
    replay_waits: whether a replay was asked for while this was closed.
    wake: called by the threads of the deliveries when one has moved on.
    handed_s: how long descriptors of processes may come that ended before this session began.
    """

    def __init__(
        self,
        pipeline_dir: Path,
        manifest: Manifest,
        report: Reporter,
        *,
        exporters: Mapping[str, Any],
        processors: Mapping[str, Any],
        clock: Callable[[], float],
        clock_ns: Callable[[], int],
        wake: Callable[[], None] = lambda: None,
        handed_s: float = 0.0,
    ) -> None:
        self.progress_at_s = clock()
        self.replay_waits = False
        self._handed_by_s = self.progress_at_s + handed_s
        self._report = report
        self._clock = clock
        self._clock_ns = clock_ns
        log = open_log(manifest.log_path, redact=manifest.redact)
        self._log = GuardedLog(log, report, clock=clock)
        self._recent = Recent()
        resources = ResourceProcessor()
        redact = redactor(tuple(manifest.redact))
        chain, self._endings = build_chain(manifest, resources, processors, report)
        self._pipeline = manifest.pipeline
        self._quarantine = quarantine = Quarantine(
            pipeline_dir.parent / "quarantine", report, clock_ns
        )
        self._spools = Spools(pipeline_dir, quarantine.damaged, self._spool_trouble)
        self._intake = Intake(
            manifest.pipeline,
            self._log,
            Decoding(chain, resources, quarantine, redact),
            self._recent,
            history=HISTORY_EXPORTER in manifest.exporters,
            clock=clock,
        )
        source = partial(PipelineLog, Path(manifest.log_path), manifest.pipeline, self._recent)
        self._deliveries = Deliveries(
            manifest, self._log, report, exporters, source, clock, moved=wake
        )
        self._intake.on_webhooks = self._deliveries.ask_for_webhooks
        settings = self._watch_settings(manifest)
        self._watch = Watch(settings, clock_ns)
        self._sampler = Sampler(pipeline_dir.parent, manifest.home, settings, clock_ns)
        self._heartbeat = HostHeartbeat(manifest, settings.host_silent_s)
        self._intake.on_fresh = self._watch.read
        self._upkeep = ShipperUpkeep(manifest, report, clock)
        self._found: list[Spool] = []
        # A program that its process became may have ended before it.
        self._ended: deque[dict[str, Any]] = deque(maxlen=REMEMBERED_ENDS)
        self._inquiries = Inquiries()
        self._begun = False
        self._settle_at_s = 0.0
        self._acknowledged = 0
        remove_staging(pipeline_dir)

    @property
    def producers(self) -> set[str]:
        """The producers whose spools were seen, those that cannot be opened among them."""
        return {spool.producer for spool in self._spools} | self._spools.unopened

    def turn(self) -> int:
        """Store and settle what there is; how much was moved."""
        now_s = self._clock()
        self._found += self._spools.refresh(now_s)
        if not self._begun and not self._begin():
            self._spools.probe(now_s)
            return 0
        try:
            while self._found:
                self._intake.adopt(self._found[-1])
                self._found.pop()
        except LogUnavailableError:
            return 0
        moved = self._intake.step(self._spools.ready(now_s))
        if moved:
            self._deliveries.notify()
        if moved or now_s >= self._settle_at_s:
            self._settle_at_s = now_s + max(SETTLE_S, len(self._spools) / SETTLED_PER_S)
            moved += self._settle(now_s) + self._store_findings(now_s)
        self._export()
        if moved:
            self.progress_at_s = now_s
        return moved

    def idle(self) -> float:
        """Use a turn in which nothing moved for a step of the log's upkeep.

        Returns the seconds until the next step is due.
        """
        return self._upkeep.idle() if self._begun and not self._log.failing else 0.0

    def may_sleep(self) -> bool:
        """Whether what comes next rings the doorbell, or can wait for a second."""
        waits = not self._begun or self._log.failing or self._intake.holding or self._found
        if waits or self._sampler.is_close:
            return False
        return all(spool.rings for spool in self._spools if spool.alive)

    def is_quiet(self) -> bool:
        """Whether there is no new frame or spool to read, and no delivery has moved on."""
        acknowledged = self._deliveries.acknowledged(self._intake.last_cursor)
        moved = acknowledged != self._acknowledged or self._deliveries.has_unsaved
        return not moved and self._spools.are_quiet()

    def log_replaced(self) -> bool:
        """Whether the log is another file now, so that cursors and readers mean the old one."""
        return self._log.replaced()

    def producer_lives(self) -> bool:
        """Whether a producer was alive when last looked at."""
        return any(spool.alive for spool in self._spools)

    def unstored(self, *, of_the_living: bool) -> bool:
        """Whether frames wait, or a producer's end is not in the log yet."""
        if not self._begun or self._intake.holding:
            return True
        unshipped = [spool for spool in self._spools if spool.reader is not None]
        return any(
            not each.alive or (of_the_living and (each.pending() or not each.probed))
            for each in unshipped
        )

    def lagging(self) -> list[str]:
        """Exporters that have not acknowledged everything."""
        return [each.name for each in self._deliveries.lagging(self._intake.last_cursor)]

    def waits_for_a_person(self) -> bool:
        """Whether all that is left waits for something that only a person can correct."""
        if self._log.failing:
            return True
        lagging = self._deliveries.lagging(self._intake.last_cursor)
        return all(self._deliveries.waits_for_a_person(delivery) for delivery in lagging)

    def close(self, timeout_s: float) -> None:
        """End deliveries and close everything, within the time."""
        deadline_s = self._clock() + timeout_s
        self._heartbeat.request_stop(self._spools)
        self._deliveries.stop(timeout_s)
        self._heartbeat.join(max(deadline_s - self._clock(), 0.0))
        if self._begun:
            self._export()
            self._remove_finished()
            if not self.producers and not self.lagging():
                self.replay_waits = self._deliveries.forget()
        for end in self._endings:
            try:
                end()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self._report.info(f"a processor did not end well: {error!r}")
        self._sampler.close()
        self._upkeep.close()
        self._log.close()
        self._spools.close()

    def _begin(self) -> bool:
        try:
            # Events stored before have no higher cursor than this.
            self._intake.last_cursor = self._log.write(self._last_cursor)
            self._recent.start(self._intake.last_cursor)
            self._deliveries.start(self._intake.last_cursor)
        except LogUnavailableError:
            return False
        self._begun = True
        return True

    def _last_cursor(self, _writer: Writer) -> int:
        with self._log.log.reader() as reader:
            return reader.now.max_cursor()

    def _settle(self, now_s: float) -> int:
        self._spools.probe(now_s)
        for spool in self._spools:
            if spool.alive and spool.without_lock and not spool.succeeded:
                spool.succeeded = is_succeeded(spool.notes.hello, self._hellos())
        ended = 0
        try:
            for spool in self._spools:
                over = spool.drained and spool.reader is not None and not self._intake.holding
                if over and self._is_understood(spool, now_s) and self._is_explained(spool):
                    self._end(spool)
                    ended += 1
            self._deliveries.save()
        except LogUnavailableError:
            return ended
        return ended + self._remove_finished()

    def _watch_settings(self, manifest: Manifest) -> WatchSettings:
        try:
            return watch_settings(manifest.home)
        except ConfigError as error:
            self._report.problem("watch", f"{error} The usual settings are used.")
            return WatchSettings()

    def _store_findings(self, now_s: float) -> int:
        """Store what the watch has found in events and in their absence, and samples."""
        self._heartbeat.look(self._spools, now_s)
        self._watch.look(self._spools, now_s)
        found = self._watch.take() + self._samples(now_s)
        for at, event in enumerate(found):
            try:
                self._intake.store_event(event)
            except LogUnavailableError:
                self._watch.give_back(found[at:])
                return at
        return len(found)

    def _samples(self, now_s: float) -> list[Event]:
        try:
            return self._sampler.look(self._spools, now_s)
        except (OSError, ValueError) as error:  # what the system shows of itself has any form
            self._report.info(f"the machine could not be sampled: {error!r}")
            return []

    def _is_understood(self, spool: Spool, now_s: float) -> bool:
        """Whether what a producer's end means is known.

        The program that its process became may have a spool that was not found or read yet, and a
        process that seems to go on without its lock may be about to end.
        """
        if spool.copied:
            return True
        is_recent = self._clock_ns() - spool.notes.last_time_unix_nano < RECENT_NS
        # Programs that began together have each started a shipper; the others pass on theirs.
        if now_s < self._handed_by_s and is_recent and spool.awaits_descriptor():
            return False
        if spool.notes.goodbye:
            return True
        goes_on = spool.process_end().goes_on
        if not goes_on and not was_lost(spool, self._hellos()):
            return True
        if spool.doubted_at_s is None:
            spool.doubted_at_s = now_s
            self._found += self._spools.refresh(now_s, force=True)
        if goes_on and not is_succeeded(spool.notes.hello, self._hellos()):
            return now_s - spool.doubted_at_s >= GOES_ON_S
        return now_s - spool.doubted_at_s >= DOUBT_S

    def _is_explained(self, spool: Spool) -> bool:
        """Whether the scheduler has said what it knows of the end of a producer's job."""
        job = None if spool.copied else job_to_ask_about(spool)
        if job is None:
            return True
        inquiry = self._inquiries.answer(job)
        spool.scheduler_word = inquiry.word
        return inquiry.answered

    def _hellos(self) -> list[dict[str, Any]]:
        return [*(spool.notes.hello for spool in self._spools), *self._ended]

    def _end(self, spool: Spool) -> None:
        """All events are in the log: store the end of the producer too, then free the spool."""
        if not spool.copied:
            self._store_end(spool)
        for path in spool.reader.unreadable if spool.reader else []:
            self._quarantine.moved(path)
        try:
            self._intake.finish(spool)
        except OSError as error:
            if _is_gone(spool.directory, error):
                self._spools.remove(spool)
            self._spool_trouble(spool.directory, error)
        self._deliveries.notify()

    def _store_end(self, spool: Spool) -> None:
        # Each in a transaction of its own: their numbers are no run of events.
        if (drops := final_drops(spool, self._clock_ns())) is not None:
            self._intake.store_event(drops)
        if was_lost(spool, self._hellos()):
            self._intake.store_event(process_lost(spool, self._clock_ns()))
            self._report.info(f"producer {spool.producer} was lost")
        if (signal := fatal_signal(spool, self._clock_ns())) is not None:
            self._intake.store_event(signal)
        for ended in runs_ended(spool, self._clock_ns()):
            self._intake.store_event(ended)
        if lost := max(spool.lost(), spool.refused, min(spool.damaged, 1)):
            self._store_damage(spool, lost)
        emitted, dropped = spool.receipt()

        self._ended.append(spool.notes.hello)

        def record(log: Writer) -> None:
            log.record_receipt(spool.producer, emitted=emitted, dropped=dropped, ended=True)

        self._log.write(record)

    def _store_damage(self, spool: Spool, lost: int) -> None:
        """Say in the log that not all of a spool could be read."""
        event = spool_damaged(spool, lost, self._clock_ns())
        pipeline, resource = self._pipeline, spool.notes.resource

        def note(log: Writer) -> None:
            log.note_resource(event.producer, pipeline, resource)

        self._log.write(note)
        self._intake.store_event(event)
        self._report.info(f"{lost} events of {spool.producer} could not be read from its spool")

    def _remove_finished(self) -> int:
        finished = [spool for spool in self._spools if spool.notes.shipped and not spool.unexported]
        for spool in finished:
            self._spools.remove(spool)
        return len(finished)

    def _export(self) -> None:
        acknowledged = self._deliveries.acknowledged(self._intake.last_cursor)
        # Cursors were read first: the dead letters that they passed are queued or saved by now.
        if self._deliveries.has_unsaved:
            self._settle_at_s = 0.0
            return
        # Before the numbers: a flush that sees these must see the dead letters.
        for producer, count in self._deliveries.take_lost().items():
            spool = self._spools.get(producer)
            if spool is not None:
                spool.control.undelivered += count
        if acknowledged != self._acknowledged:
            self._acknowledged = acknowledged
            self.progress_at_s = self._clock()
        if self._intake.unexported:
            self._intake.exported(acknowledged)

    def _spool_trouble(self, directory: Path, error: OSError) -> None:
        if _is_gone(directory, error):
            return
        self._report.problem(
            f"spool {directory.name}",
            f"the spool {directory} cannot be read ({error}). It is tried again; look at the"
            " permissions of the directory.",
        )


def _is_gone(directory: Path, error: OSError) -> bool:
    """Whether another shipper has removed a spool, as it does when all of it is in the log.

    There may be two for a moment: one began in a home that was deleted and made anew since.
    """
    return isinstance(error, FileNotFoundError) and not lexists(directory)

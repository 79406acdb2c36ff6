"""All deliveries of a pipeline, as the shipper's own thread sees them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from realm_telemetry.config import load_settings
from realm_telemetry.delivery.delivery import Delivery, Opened
from realm_telemetry.delivery.guarded import GuardedLog
from realm_telemetry.delivery.outlet import make_outlet
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.retry import Condemned
from realm_telemetry.delivery.sources import EVERY_PIPELINE, PipelineLog
from realm_telemetry.home.token import is_of_this_host
from realm_telemetry.log.engine import Writer
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.records import Refusal
from realm_telemetry.log.rows import LogRow
from realm_telemetry.plugins import ExporterContext, load_exporter
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.values.clock import monotonic

SAVE_EVERY_S: Final = 1.0
SERVICE_EXPORTER: Final = "realm_service"
WEBHOOK_EXPORTER: Final = "webhook"


class Deliveries:
    """Starts the deliveries, keeps their cursors in the log's file, and sums them up.

    exporters: objects to use for some names, in place of the entry points.
    source: makes what an exporter reads; each has its own.
    moved: called in an exporter's thread when its cursor has moved.
    log_url: of a log that is no file. Not in the manifest: it may hold a password.
    In a service, whose pipeline is EVERY_PIPELINE, exporters see the whole log.
    """

    def __init__(
        self,
        manifest: Manifest,
        log: GuardedLog,
        report: Reporter,
        exporters: Mapping[str, Any],
        source: Callable[[], PipelineLog],
        clock: Callable[[], float] = monotonic,
        *,
        moved: Callable[[], None] = lambda: None,
        log_url: str | None = None,
    ) -> None:
        self._manifest = manifest
        self._log_url = log_url
        self._log = log
        self._report = report
        self._exporters = exporters
        self._source = source
        self._clock = clock
        self._moved = moved
        self._deliveries: list[Delivery] = []
        self._saved: dict[str, int] = {}
        self._save_at_s = 0.0
        self._stopped = False
        self._lost: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._deliveries)

    def start(self, last_cursor: int) -> None:
        """Begin where the saved cursors stand; an exporter without one begins here.

        last_cursor: the log's last, before this shipper stores anything.
        Raises LogUnavailableError.
        """
        pipeline = self._manifest.pipeline
        self._saved = self._log.write(self._load)
        for name in self._manifest.exporters:
            if name not in self._saved:
                self._save_cursor(name, last_cursor)
        # Asked for by an event, and not done when the shipper ended.
        asked = [WEBHOOK_EXPORTER] if pipeline and WEBHOOK_EXPORTER in self._saved else []
        for name in dict.fromkeys((*self._manifest.exporters, *asked)):
            self._begin(name)

    def _load(self, log: Writer) -> dict[str, int]:
        """The saved cursors; those that `realm replay` has named are set back before."""
        pipeline = self._manifest.pipeline
        saved = log.load_cursors(pipeline)
        for name, cursor in log.asked_back(pipeline).items():
            if name in saved or name in self._manifest.exporters:
                saved[name] = min(cursor, saved.get(name, cursor))
                log.go_back(pipeline, name, saved[name])
        return saved

    def ask_for_webhooks(self, cursor: int) -> None:
        """Deliver to the addresses that events name, though no exporter here is set up to.

        Not where a RealmService is sent the events: it does that for all who send to it.
        cursor: before the first such event. Raises LogUnavailableError.
        """
        names = {each.name for each in self._deliveries}
        if names & {SERVICE_EXPORTER, WEBHOOK_EXPORTER}:
            return
        self._save_cursor(WEBHOOK_EXPORTER, cursor)
        self._begin(WEBHOOK_EXPORTER)

    def _begin(self, name: str) -> None:
        delivery = Delivery(
            name,
            self._opener(name),
            self._saved[name],
            self._report,
            clock=self._clock,
            moved=self._moved,
        )
        self._deliveries.append(delivery)
        delivery.start()

    def notify(self) -> None:
        """Wake the exporters: the log has grown."""
        for delivery in self._deliveries:
            delivery.notify()

    def acknowledged(self, last_cursor: int) -> int:
        """The cursor up to which every exporter has everything."""
        return min((delivery.cursor for delivery in self._deliveries), default=last_cursor)

    def lagging(self, last_cursor: int) -> list[Delivery]:
        """Deliveries that still have something to do."""
        return [each for each in self._deliveries if each.cursor < last_cursor]

    def waits_for_a_person(self, delivery: Delivery) -> bool:
        """Whether it makes no sense to wait for this one once all producers have gone.

        An exporter that cannot be made, or a service on this host that is not there. A
        person has to correct that, and what is started then starts a shipper.
        """
        if delivery.failing_since_s is None:
            return False
        local = delivery.name == SERVICE_EXPORTER and is_of_this_host(self._manifest.service_url)
        return delivery.broken or local

    def save(self, *, force: bool = False) -> None:
        """Put dead letters, then cursors into the log; the latter once a second at most.

        Raises LogUnavailableError.
        """
        now_s = self._clock()
        moved = {
            each.name: each.cursor
            for each in self._deliveries
            if each.cursor != self._saved[each.name] and not each.going_back
        }
        # A dead letter is queued before its cursor passes: these belong to cursors seen above.
        for delivery in self._deliveries:
            self._save_letters(delivery)
        if now_s < self._save_at_s and not force:
            return
        self._save_at_s = now_s + SAVE_EVERY_S
        for name, cursor in moved.items():
            self._save_cursor(name, cursor)
        if not self._stopped:  # nobody would deliver again: it is left to the next shipper
            self._go_back()

    def forget(self) -> bool:
        """Drop the cursors of a pipeline that is done: retention waits for what it finds there.

        The next shipper of the pipeline begins at the log's end, which is the same by then.
        Returns whether `realm replay` has named one of the exporters: then it is not done.
        """
        pipeline = self._manifest.pipeline
        names = {delivery.name for delivery in self._deliveries}

        def drop(log: Writer) -> bool:
            for name in names - log.asked_back(pipeline).keys():
                log.drop_cursor(pipeline, name)
            return not names.isdisjoint(log.asked_back(pipeline))

        try:
            return self._log.write(drop)
        except LogUnavailableError:
            return False

    @property
    def has_unsaved(self) -> bool:
        """Whether dead letters or counts of refused events wait to be put into the log."""
        return any(delivery.dead or delivery.refused for delivery in self._deliveries)

    def take_lost(self) -> Counter[str]:
        """How many events of each producer went to the dead letters since last asked."""
        if not self._lost:
            return self._lost
        lost, self._lost = self._lost, Counter()
        return lost

    def stop(self, timeout_s: float) -> None:
        """End the deliveries; one whose exporter hangs is left behind. Cursors are saved."""
        deadline_s = monotonic() + timeout_s
        self._stopped = True
        for delivery in self._deliveries:
            delivery.request_stop()
        for delivery in self._deliveries:
            if not delivery.join(max(deadline_s - monotonic(), 0.0)):
                self._report.info(f"exporter {delivery.name} hangs and is left behind")
        try:
            self.save(force=True)
        except LogUnavailableError:  # reported; some events go out again, which is harmless
            return

    def _opener(self, name: str) -> Callable[[], Opened]:
        def open_both() -> Opened:
            manifest = self._manifest
            whole = manifest.pipeline == EVERY_PIPELINE
            source = self._source()
            context = ExporterContext(
                home=Path(manifest.home),
                log_path=Path(manifest.log_path),
                log_id=source.log_id,
                service_url=manifest.service_url,
                token=manifest.token,
                options=self._options(name),
                pipeline=manifest.pipeline,
                service_name=manifest.service_name,
                long_lived=whole,
                # A service's exporters read the service's own variables.
                environment=None if whole else manifest.environment,
                log_url=self._log_url,
            )
            try:
                exporter = self._exporters.get(name) or load_exporter(name, context)
            except Exception:
                source.close()
                raise
            return make_outlet(exporter, source.resource), source

        return open_both

    def _options(self, name: str) -> dict[str, Any]:
        if name in self._manifest.exporters:
            return self._manifest.options.get(name, {})
        # Asked for by an event: how to send is set in realm.toml, rules are the service's.
        settings = load_settings(environ={"REALM_HOME": self._manifest.home})
        return settings.options.get(name, {}) | {"rules": [], "alerts": {"to": []}}

    def _save_letters(self, delivery: Delivery) -> None:
        while delivery.refused:
            self._add_refusal(delivery.refused[0])
            delivery.refused.popleft()
        while delivery.dead:
            letter = delivery.dead[0]
            self._add_dead_letter(delivery.name, letter)
            delivery.dead.popleft()
            self._lost[letter.row.event.producer] += 1

    def _add_dead_letter(self, exporter: str, letter: Condemned[LogRow]) -> None:
        def add(log: Writer) -> None:
            log.add_dead_letter(self._manifest.pipeline, exporter, letter.row.cursor, letter.reason)

        self._log.write(add)

    def _add_refusal(self, refusal: Refusal) -> None:
        self._log.write(lambda log: log.add_refusal(self._manifest.pipeline, refusal))

    def _go_back(self) -> None:
        """Set back the exporters that `realm replay` names."""
        pipeline = self._manifest.pipeline
        asked = self._log.write(lambda log: log.asked_back(pipeline))
        for delivery in self._deliveries:
            name = delivery.name
            if name in asked:
                cursor = min(asked[name], delivery.cursor)
                self._set_cursor_back(name, cursor)
                delivery.go_back(cursor)

    def _set_cursor_back(self, exporter: str, cursor: int) -> None:
        pipeline = self._manifest.pipeline
        self._log.write(lambda log: log.go_back(pipeline, exporter, cursor))
        self._saved[exporter] = cursor

    def _save_cursor(self, exporter: str, cursor: int) -> None:
        def save(log: Writer) -> None:
            log.save_cursor(self._manifest.pipeline, exporter, cursor)

        self._log.write(save)
        self._saved[exporter] = cursor

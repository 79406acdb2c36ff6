"""Log to exporters."""

import threading
import time

from realm_telemetry.errors import ExportError, NotYetError
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.otel import LogRecordExporter, LogRecordExportResult
from tests.waiting import SOON_S


class Scripted:
    """An exporter that does what its script says, call by call, and then accepts everything."""

    def __init__(self, *script, poison=()):
        self.script = list(script)
        self.poison = set(poison)
        self.calls: list[list[int]] = []
        self.times: list[float] = []
        self.taken: list[int] = []
        self.closed = False

    def export_events(self, events):
        numbers = [event.number for event in events]
        self.calls.append(numbers)
        self.times.append(time.monotonic())
        act = self.script.pop(0) if self.script else None
        if isinstance(act, BaseException):
            raise act
        if self.poison & set(numbers):
            raise ValueError("cannot serialise")
        self.taken += numbers

    def shutdown(self):
        self.closed = True


class Plain(LogRecordExporter):
    """An OpenTelemetry exporter that knows nothing of events."""

    def __init__(self, *results):
        self.results = list(results)
        self.records = []

    def export(self, batch):
        result = self.results.pop(0) if self.results else LogRecordExportResult.SUCCESS
        if result is LogRecordExportResult.SUCCESS:
            self.records += batch
        return result

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30_000):
        return True


def dead_letters(lab):
    with LogReader(lab.log_path) as reader:
        return reader.now.dead_letters(lab.pipeline_dir.name)


def cursors(lab):
    with LogReader(lab.log_path) as reader:
        return reader.now.cursors(lab.pipeline_dir.name)


def test_an_exporter_gets_every_event_once_and_in_order(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(1200)
    exporter = Scripted()
    lab.ship(exporters={"one": exporter})
    assert exporter.taken == list(range(1, 1201))
    assert max(map(len, exporter.calls)) <= 512
    assert exporter.closed
    assert producer.writer.control.exported_number == 1200


def test_the_next_shipper_goes_on_at_the_saved_cursor(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(3)
    lab.ship(exporters={"one": Scripted()})
    producer.emit_many(2)
    again = Scripted()
    lab.ship(exporters={"one": again})
    assert again.taken == [4, 5]


def test_exported_means_acknowledged_by_every_exporter(make_lab, eventually):
    lab = make_lab(exporters=["good", "bad"])
    producer = lab.producer()
    producer.emit_many(3)
    good = Scripted()
    bad = Scripted(*[ExportError("away", retryable=True)] * 3)
    lab.start(exporters={"good": good, "bad": bad})
    eventually(lambda: good.taken)
    assert producer.writer.control.stored_number == 3
    assert producer.writer.control.exported_number == 0
    eventually(lambda: producer.writer.control.exported_number == 3)
    producer.end()


def test_a_retryable_error_is_reported_once_and_its_end_too(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit()
    lab.ship(exporters={"one": Scripted(*[ExportError("it is away", retryable=True)] * 3)})
    text = lab.log_text()
    assert text.count("it is away") == 1
    assert "exporter one delivers again" in text
    assert dead_letters(lab) == []


def test_retry_after_is_kept(make_lab):
    lab = make_lab(exporters=["one"])
    lab.producer().emit()
    exporter = Scripted(ExportError("slow down", retryable=True, retry_after_s=0.6))
    lab.ship(exporters={"one": exporter})
    assert 0.6 <= exporter.times[1] - exporter.times[0] < 1.5


def test_rejected_events_go_to_the_dead_letters_and_the_others_count_as_taken(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(3)
    second = f"{producer.id}{2:016x}"
    error = ExportError("too long", retryable=False, rejected_ids=[second])
    exporter = Scripted(error)
    lab.ship(exporters={"one": exporter})
    assert len(exporter.calls) == 1
    assert [(letter.event_id, letter.reason) for letter in dead_letters(lab)] == [
        (second, "too long")
    ]
    assert producer.writer.control.exported_number == 3
    assert producer.writer.control.undelivered == 1


def test_a_batch_that_keeps_failing_is_bisected_and_only_the_culprit_is_given_up(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(100)
    exporter = Scripted(poison=[37])
    lab.ship(exporters={"one": exporter})
    assert exporter.calls[:5] == [list(range(1, 101))] * 5
    assert sorted(exporter.taken) == [n for n in range(1, 101) if n != 37]
    assert len(exporter.taken) == 99
    (letter,) = dead_letters(lab)
    assert letter.event_id == f"{producer.id}{37:016x}"
    assert "cannot serialise" in letter.reason


def test_a_batch_refused_for_good_is_bisected_at_once(make_lab):
    lab = make_lab(exporters=["one"])
    lab.producer().emit_many(4)
    exporter = Scripted(ExportError("413 too large", retryable=False))
    lab.ship(exporters={"one": exporter})
    assert exporter.calls == [[1, 2, 3, 4], [1, 2], [3, 4]]


def test_nothing_is_given_up_while_nothing_goes_through(make_lab, eventually):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(4)
    exporter = Scripted(*[RuntimeError("all is broken")] * 25)
    lab.start(exporters={"one": exporter})
    eventually(lambda: len(exporter.calls) > 12)
    assert dead_letters(lab) == []
    exporter.script.clear()
    eventually(lambda: producer.writer.control.exported_number == 4)
    assert dead_letters(lab) == []
    producer.end()


def test_a_single_bad_event_waits_for_a_neighbour_before_it_is_given_up(make_lab, eventually):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit()
    exporter = Scripted(poison=[1])
    lab.start(exporters={"one": exporter})
    eventually(lambda: len(exporter.calls) > 5)
    assert dead_letters(lab) == []
    producer.emit()
    eventually(lambda: producer.writer.control.exported_number == 2)
    assert [letter.event_id[-1] for letter in dead_letters(lab)] == ["1"]
    producer.end()


def test_a_hanging_exporter_delays_only_itself(make_lab, eventually):
    lab = make_lab(exporters=["hangs", "works"])
    release = threading.Event()

    class Hangs:
        def export_events(self, events):
            release.wait(60)

    works = Scripted()
    producer = lab.producer()
    producer.emit_many(3)
    running = lab.start(exporters={"hangs": Hangs(), "works": works})
    eventually(lambda: works.taken == [1, 2, 3])
    producer.emit()
    eventually(lambda: works.taken == [1, 2, 3, 4])
    assert cursors(lab)["hangs"] == 0
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < SOON_S
    release.set()


def test_an_exporter_sees_the_events_of_its_own_pipeline_only(make_lab):
    mine = make_lab(exporters=["one"])
    other = make_lab(exporters=["one"], token="another pipeline")
    for lab in (mine, other):
        lab.producer().emit(message=lab.manifest.token or "mine")
    exporters = [Scripted(), Scripted()]
    for lab, exporter in zip((other, mine), exporters, strict=True):
        lab.ship(exporters={"one": exporter})
    assert [len(exporter.taken) for exporter in exporters] == [1, 1]
    assert len(mine.rows()) == 2


def test_a_plain_opentelemetry_exporter_gets_records_with_their_resource(make_lab):
    lab = make_lab(exporters=["otel"])
    lab.producer().emit(message="Step 1", step=1)
    exporter = Plain(LogRecordExportResult.FAILURE)
    lab.ship(exporters={"otel": exporter})
    (record,) = exporter.records
    assert record.log_record.body == "Step 1"
    assert record.resource.attributes["service.name"] == "trainer"


def test_an_unknown_exporter_is_reported_with_a_hint_and_the_log_still_fills(make_lab, eventually):
    lab = make_lab(exporters=["jsonn"])
    producer = lab.producer()
    producer.emit()
    running = lab.start()
    eventually(lambda: "jsonn" in running.shipper.problems)
    assert "Did you mean 'jsonl'?" in running.shipper.problems["jsonn"]
    eventually(lambda: producer.writer.control.stored_number == 1)
    producer.end()


def test_a_process_lost_event_is_delivered_too(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit()
    producer.die()
    kinds = []

    class Kinds:
        def export_events(self, events):
            kinds.extend(event.kind for event in events)

    lab.ship(exporters={"one": Kinds()})
    assert kinds == ["training_step", "process_lost"]
    assert not producer.writer.directory.exists()


def test_an_exporter_that_gathers_is_asked_again_and_not_reported(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(3)
    producer.end()
    exporter = Scripted(NotYetError(0.2), NotYetError(0.1))
    assert lab.ship(exporters={"one": exporter})
    assert exporter.taken == [1, 2, 3]
    assert len(exporter.calls) == 3
    assert exporter.times[1] - exporter.times[0] >= 0.2
    assert exporter.times[2] - exporter.times[1] >= 0.1
    assert "one" not in lab.log_text()
    assert dead_letters(lab) == []


def test_a_shipper_that_has_to_leave_does_not_wait_for_one_that_gathers(make_lab):
    lab = make_lab(exporters=["one"])
    producer = lab.producer()
    producer.emit_many(3)
    exporter = Scripted(NotYetError(600.0))
    running = lab.start(exporters={"one": exporter})
    deadline = time.monotonic() + 60
    while not exporter.calls:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < SOON_S
    assert exporter.closed
    assert "hangs" not in lab.log_text()

"""Keeping the log within its bounds."""

from realm_telemetry.log import Filters, ProducerInfo
from realm_telemetry.log.engine import Log, Reader, Writer
from realm_telemetry.log.maintenance import Retention
from realm_telemetry.log.records import Limits

from .conftest import HOUR, NOW, PRODUCER, SECOND, Clock, make_event

DAY = 24 * HOUR
OTHER = "ffffffffffffffff"


def run(retention: Retention, keep_from: int | None = None) -> list[int]:
    """Take all steps; returns how many rows each removed."""
    removed = []
    while (step := retention.step(keep_from)).more:
        removed.append(step.removed)
    return removed


def numbers(reader: Reader) -> list[int]:
    return [row.event.number for row in reader.now.after(0, 100_000)]


def test_rows_go_thirty_days_after_they_arrived(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    retention = log.retention(writer, Limits())
    writer.append([make_event(1, time_unix_nano=NOW - 400 * DAY), make_event(2)])
    clock.now_ns += 20 * DAY
    writer.append([make_event(3)])
    assert run(retention) == []
    clock.now_ns += 11 * DAY
    assert run(retention) == [2]
    assert numbers(reader) == [3]
    assert (reader.now.min_cursor(), reader.now.max_cursor()) == (2, 3)


def test_trimming_goes_by_steps_of_500(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.append([make_event(n) for n in range(1, 1001)])
    writer.append([make_event(n) for n in range(1001, 1202)])
    clock.now_ns += 31 * DAY
    assert run(log.retention(writer, Limits())) == [500, 500, 201]
    assert numbers(reader) == []
    assert reader.now.min_cursor() == reader.now.max_cursor() == 1201


def test_a_row_that_a_snapshot_has_not_seen_stays(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.append([make_event(n) for n in range(1, 11)])
    clock.now_ns += 31 * DAY
    retention = log.retention(writer, Limits())
    assert run(retention, keep_from=6) == [5]
    assert numbers(reader) == [6, 7, 8, 9, 10]


def fill_with_steps(writer: Writer, clock: Clock) -> None:
    """A step each second of 2,000, but a checkpoint every 100 s."""
    batch = []
    for second in range(1, 2001):
        kind = "checkpoint_saved" if second % 100 == 0 else "training_step"
        batch.append(make_event(second, kind=kind, time_unix_nano=NOW + second * SECOND))
        if len(batch) == 1000:
            writer.append(batch)
            batch = []
    clock.now_ns += HOUR


def test_over_its_size_the_log_first_thins_routine_kinds(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    fill_with_steps(writer, clock)
    run(log.retention(writer, Limits(max_bytes=1)))
    events = [row.event for row in reader.now.after(0, 10_000)]
    steps = [event for event in events if event.kind == "training_step"]
    assert sum(event.kind == "checkpoint_saved" for event in events) == 20
    buckets = [event.time_unix_nano // (10 * SECOND) for event in steps]
    assert len(buckets) == len(set(buckets)) == 200


def test_routine_kinds_are_thinned_by_age_though_there_is_room(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    fill_with_steps(writer, clock)
    limits = Limits(thin_after_ns=24 * HOUR)
    retention = log.retention(writer, limits)
    assert run(retention) == []
    clock.now_ns += 23 * HOUR + SECOND
    writer.append([make_event(n, kind="training_step") for n in range(2001, 2101)])
    assert sum(run(retention)) == 2000 - 220
    left = numbers(reader)
    assert len(left) == 320, "what came last is not old"
    clock.now_ns += 24 * HOUR + SECOND
    # Another process goes on where the last left off: no row is read twice.
    assert len(run(log.retention(writer, limits))) == 1
    assert [number for number in numbers(reader) if number <= 2000] == left[:220]


def test_what_is_not_routine_stays_a_day_whatever_the_size(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    fill_with_steps(writer, clock)
    clock.now_ns += 22 * HOUR
    retention = log.retention(writer, Limits(max_bytes=1))
    run(retention)
    assert len(numbers(reader)) == 220
    clock.now_ns += 2 * HOUR
    run(retention)
    assert numbers(reader) == []


def test_trimming_for_size_stops_once_the_log_fits(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.append([make_event(n) for n in range(1, 1001)])
    clock.now_ns += 25 * HOUR
    run(log.retention(writer, Limits(max_bytes=300_000)))
    left = numbers(reader)
    assert left == list(range(left[0], 1001))
    assert 450 < len(left) < 800


def test_routine_rows_wait_for_the_exporters(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    fill_with_steps(writer, clock)
    writer.save_cursor("main", "otlp", 1000)
    run(log.retention(writer, Limits(max_bytes=1)))
    left = numbers(reader)
    assert left[-1000:] == list(range(1001, 2001))
    assert len(left) < 1200


def test_without_history_a_row_stays_until_every_exporter_has_it(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "main", history=False))
    writer.register_producer(ProducerInfo(OTHER, "kept"))
    for n in range(1, 6):
        writer.append([make_event(n), make_event(n, producer=OTHER)])
    retention = log.retention(writer, Limits())
    clock.now_ns += 2 * 60 * SECOND
    assert run(retention) == []
    writer.save_cursor("main", "otlp", 8)
    writer.save_cursor("main", "webhook", 4)
    run(retention)
    assert [row.event.number for row in reader.now.after(0) if row.event.producer == PRODUCER] == [
        3,
        4,
        5,
    ]
    writer.save_cursor("main", "webhook", 10)
    writer.save_cursor("main", "otlp", 10)
    run(retention)
    assert {row.event.producer for row in reader.now.after(0)} == {OTHER}
    assert len(numbers(reader)) == 5


def test_exported_rows_stay_a_minute_for_the_live_view(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "main", history=False))
    writer.append([make_event(1)])
    writer.save_cursor("main", "otlp", 1)
    retention = log.retention(writer, Limits())
    assert run(retention) == []
    clock.now_ns += 61 * SECOND
    run(retention)
    assert numbers(reader) == []


def test_an_exporter_of_all_pipelines_holds_their_rows(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "main", history=False))
    writer.append([make_event(1)])
    writer.save_cursor("main", "otlp", 1)
    writer.save_cursor("", "webhook", 0)
    clock.now_ns += 61 * SECOND
    assert run(log.retention(writer, Limits())) == []
    assert numbers(reader) == [1]


def test_what_happened_stays_counted_and_what_is_left_is_the_total(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "main"))
    writer.append([make_event(n, webhooks=("https://example.org",)) for n in range(1, 11)])
    writer.record_receipt(PRODUCER, emitted=10)
    clock.now_ns += 31 * DAY
    writer.append([make_event(n) for n in range(11, 14)])
    run(log.retention(writer, Limits()))
    assert reader.now.channels() == {"jobs": {"info": 13}}
    assert reader.now.page(Filters(limit=1)).total == 3
    assert reader.now.histogram(Filters(), 10).total == 3
    assert reader.now.receipts()[0].complete
    assert reader.now.first_webhook_cursor() is None

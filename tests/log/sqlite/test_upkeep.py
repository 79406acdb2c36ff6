"""Who keeps a log in shape, and what a step of it does."""

from realm_telemetry.log import ProducerInfo
from realm_telemetry.log.engine import Log, Reader, Writer
from realm_telemetry.log.records import Limits, limits_of
from realm_telemetry.log.sqlite.retention import Retention
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.upkeep import BETWEEN_STEPS_S, Upkeep, UpkeepClaim
from realm_telemetry.log.sqlite.writer import LogWriter

from .conftest import PRODUCER, SECOND, Clock, make_event


def test_a_shipper_leaves_upkeep_to_a_service_for_a_minute(writer: Writer, clock: Clock) -> None:
    service = UpkeepClaim("service", first=True, clock_ns=clock)
    shipper = UpkeepClaim("shipper a", clock_ns=clock)
    assert shipper.hold(writer)
    assert service.hold(writer)
    assert not shipper.hold(writer)
    clock.now_ns += 59 * SECOND
    assert not shipper.hold(writer)
    clock.now_ns += SECOND
    assert shipper.hold(writer)


def test_of_two_shippers_one_does_the_upkeep_and_the_other_takes_over(
    writer: Writer, clock: Clock
) -> None:
    one, two = (UpkeepClaim(f"shipper {name}", clock_ns=clock) for name in "ab")
    assert one.hold(writer)
    for _ in range(10):
        clock.now_ns += 15 * SECOND
        assert one.hold(writer)
        assert not two.hold(writer)
    clock.now_ns += 60 * SECOND
    assert two.hold(writer)
    assert not one.hold(writer)


def test_a_claim_from_the_future_does_not_count(writer: Writer, clock: Clock) -> None:
    assert UpkeepClaim("service", first=True, clock_ns=clock).hold(writer)
    clock.now_ns -= 3600 * SECOND
    assert UpkeepClaim("shipper a", clock_ns=clock).hold(writer)


def test_a_claim_is_written_only_when_it_must_be_renewed(
    log: Log, writer: Writer, clock: Clock
) -> None:
    claim = UpkeepClaim("shipper a", clock_ns=clock)
    claim.hold(writer)
    watch = log.watch()
    assert watch.changed()
    watch.caught_up()
    clock.now_ns += 29 * SECOND
    claim.hold(writer)
    assert not watch.changed()
    clock.now_ns += SECOND
    claim.hold(writer)
    assert watch.changed()
    watch.close()


def test_steps_follow_closely_until_nothing_is_left_to_do(
    writer: LogWriter, reader: Reader, clock: Clock
) -> None:
    writer.append([make_event(n) for n in range(1, 501)])
    search = SearchIndex(writer.path, writer.path.with_name("search.db"))
    upkeep = Upkeep(
        search, limits_of(30, None), lambda one: one.step().more, interval_s=7.0, clock_ns=clock
    )
    pauses = [upkeep.step(writer)]
    while pauses[-1] == BETWEEN_STEPS_S:
        pauses.append(upkeep.step(writer))
    assert pauses[-1] == 7.0
    assert search.indexed_through(reader.log_id) == 500


def test_retention_is_due_for_age_for_size_and_for_what_was_sent(
    writer: LogWriter, clock: Clock
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER, "main", history=False))
    writer.append([make_event(1)])
    assert not Retention(writer, clock_ns=clock).due()
    assert Retention(writer, Limits(max_bytes=1), clock_ns=clock).due()
    writer.save_cursor("main", "otlp", 1)
    clock.now_ns += 59 * SECOND
    assert not Retention(writer, clock_ns=clock).due()
    assert Retention(writer, Limits(max_age_ns=58 * SECOND), clock_ns=clock).due()
    clock.now_ns += 2 * SECOND
    retention = Retention(writer, clock_ns=clock)
    assert retention.due()
    while retention.step().more:
        pass
    assert not retention.due()

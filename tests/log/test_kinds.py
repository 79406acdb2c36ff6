"""Kinds that producers registered, as other processes hear of them."""

from contextlib import closing

import pytest

from realm_telemetry.kinds.catalog import KindSpec, is_routine
from realm_telemetry.log.engine import Log, Reader, Writer
from realm_telemetry.log.kind_watch import KindWatch
from realm_telemetry.log.records import Limits

from .conftest import HOUR, Clock, make_event

KIND = KindSpec("ray_traced", "training", "warning", "Ray {number}", routine=True)

pytestmark = pytest.mark.usefixtures("own_catalog")


def test_a_registered_kind_is_kept_and_the_newest_word_counts(
    writer: Writer, reader: Reader
) -> None:
    writer.register_kind(KIND)
    assert reader.now.kinds() == [KIND]
    newer = KindSpec("ray_traced", "debug", "info", None, routine=False)
    writer.register_kind(newer)
    assert reader.now.kinds() == [newer]


def test_the_same_again_writes_nothing(log: Log, writer: Writer) -> None:
    writer.register_kind(KIND)
    with closing(log.watch()) as watch:
        watch.changed()
        watch.caught_up()
        writer.register_kind(KIND)
        assert not watch.changed()


def test_a_kind_is_learned_when_the_tail_first_meets_it(writer: Writer, reader: Reader) -> None:
    watch = KindWatch(reader.now, clock=lambda: 0.0)
    watch.look()
    writer.register_kind(KIND)
    writer.append([make_event(1, kind="ray_traced")])
    watch.meet(reader.now.after(0))
    assert is_routine("ray_traced")


def test_a_kind_that_nobody_registered_is_looked_up_once_a_second_at_the_most(
    writer: Writer, reader: Reader
) -> None:
    now_s = [0.0]
    watch = KindWatch(reader.now, clock=lambda: now_s[0])
    writer.append([make_event(1, kind="ray_traced")])
    rows = reader.now.after(0)
    watch.meet(rows)
    writer.register_kind(KIND)
    now_s[0] = 0.9
    watch.meet(rows)
    assert not is_routine("ray_traced")
    now_s[0] = 1.0
    watch.meet(rows)
    assert is_routine("ray_traced")


def test_a_kind_registered_anew_is_learned_within_half_a_minute(
    writer: Writer, reader: Reader
) -> None:
    now_s = [0.0]
    writer.register_kind(KIND)
    writer.append([make_event(1, kind="ray_traced")])
    watch = KindWatch(reader.now, clock=lambda: now_s[0])
    watch.look()
    writer.register_kind(KindSpec("ray_traced", "training", "warning"))
    now_s[0] = 29.0
    watch.meet(reader.now.after(0))
    assert is_routine("ray_traced")
    now_s[0] = 30.0
    watch.meet(reader.now.after(0))
    assert not is_routine("ray_traced")


def test_retention_thins_a_routine_kind_of_the_users(
    log: Log, writer: Writer, reader: Reader, clock: Clock
) -> None:
    writer.register_kind(KIND)
    writer.append([make_event(n, kind="ray_traced") for n in range(1, 101)])
    clock.now_ns += HOUR
    retention = log.retention(writer, Limits(max_bytes=1))
    while retention.step().more:
        pass
    assert 10 <= len(reader.now.after(0)) <= 11

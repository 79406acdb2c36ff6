"""Stored curves of a real log: file and memory together are as one fold of all rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.curves import CurvesRunner, RunCurves
from realm_telemetry.folds.curves import fold as fold_module
from realm_telemetry.folds.curves.fold import MAX_LAYERS, THIN_BUCKETS, stored_curves
from realm_telemetry.folds.curves.reading import curves_now
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.log.curves import Part
from realm_telemetry.log.engine import Log, Writer, open_log
from realm_telemetry.log.filters import Filters

BEGIN_NS = 1_764_374_400_000_000_000
SECOND = 1_000_000_000


class Clock:
    """The log's clock, which tests move."""

    def __init__(self) -> None:
        self.now_ns = BEGIN_NS + 3_600 * SECOND

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Log:
    return open_log(tmp_path / "jobs.db", state_path=tmp_path / "state.db", clock_ns=clock)


@pytest.fixture
def writer(log: Log) -> Iterator[Writer]:
    with log.writer() as writer:
        yield writer


def steps(first: int, last: int, run_id: str = "r", at_s: int = 0) -> list[Event]:
    return [
        Event(
            "training_step",
            "training",
            "info",
            "",
            {"step": step, "loss": 1 / (step + 1), "acc": step},
            BEGIN_NS + (at_s + step) * SECOND,
            (run_id * 16)[:16].replace("r", "a").replace("q", "b"),
            step + 1,
            run_id=run_id,
        )
        for step in range(first, last)
    ]


def caught_up(log: Log, part: Part = "live") -> CurvesRunner:
    """A runner as a process has it that has just begun."""
    runner = CurvesRunner(log, part)
    runner.restart()
    with log.reader() as reader:
        runner.catch_up(every_row(reader.now))
    return runner


def read(log: Log, runner: CurvesRunner | None = None, run_id: str = "r") -> bytes:
    with log.reader() as reader:
        store = log.curves(reader.log_id)
    layers = runner.fold.layers(run_id) if runner else []
    live, older, _ = stored_curves(store, run_id, layers)
    live.merge(older)
    return live.dump()


def whole(events: list[Event], *set_back: int) -> bytes:
    curves = RunCurves()
    for event in events:
        curves.add(event)
    for arrival in set_back:
        curves.set_back(arrival)
    return curves.dump()


def test_a_process_that_is_killed_goes_on_exactly_behind_what_it_stored(
    log: Log, writer: Writer
) -> None:
    told: list[Event] = []
    for part in range(0, 400, 40):
        new = steps(part, part + 40)
        told += new
        writer.append(new)
        runner = caught_up(log)
        assert read(log, runner) == whole(told)
        if part % 80:
            runner.save()
            assert read(log) == read(log, runner) == whole(told)
        # Else it is killed here, with all that it had in memory.


def test_layers_of_a_run_are_joined_and_stay_the_same(log: Log, writer: Writer) -> None:
    writer.append(steps(0, 1))
    runner = caught_up(log)
    for step in range(1, 3 * MAX_LAYERS):
        writer.append(steps(step, step + 1))
        with log.reader() as reader:
            runner.catch_up(every_row(reader.now))
            runner.save()
            layers = log.curves(reader.log_id).layers("r")[1]
        assert len(layers) <= MAX_LAYERS
    assert read(log) == whole(steps(0, 3 * MAX_LAYERS))


def test_of_two_processes_one_stores_and_the_other_begins_again(log: Log, writer: Writer) -> None:
    writer.append(steps(0, 10))
    one = caught_up(log)
    writer.append(steps(10, 12))
    other = caught_up(log)
    one.save()
    other.save()
    assert (one.overtaken, other.overtaken) == (False, True)
    assert read(log) == whole(steps(0, 10))
    other.restart()
    assert other.fold.cursor == 10


def test_a_long_log_is_read_in_two_parts_and_covers_nothing_too_early(
    log: Log, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_module, "SMALL_LOG", 50)
    writer.append(steps(0, 100))
    runner = caught_up(log)
    assert (runner.mark.begun, runner.covered) == (100, 0)
    writer.append(steps(100, 120))
    with log.reader() as reader:
        runner.catch_up(every_row(reader.now))
        assert curves_now(log, reader.now, "r", Filters(runs=("r",))).dump() == whole(steps(0, 120))
    runner.save()
    assert runner.covered == 0
    older = caught_up(log, "older")
    assert older.fold.cursor == 100
    older.save()
    assert older.covered == 120
    assert read(log) == whole(steps(0, 120))
    with log.reader() as reader:
        assert curves_now(log, reader.now, "r", Filters(runs=("r",))).dump() == whole(steps(0, 120))


@pytest.mark.parametrize("saves", [False, True])
def test_times_of_a_wrong_clock_are_lowered_also_where_they_are_stored(
    log: Log, writer: Writer, clock: Clock, saves: bool
) -> None:
    day = 86_400 * SECOND
    clock.now_ns += 40 * day
    writer.append(steps(0, 10, at_s=40 * 86_400))
    runner = caught_up(log)
    if saves:
        runner.save()
    clock.now_ns -= 40 * day
    writer.append(steps(10, 12))
    with log.reader() as reader:
        runner.catch_up(every_row(reader.now))
    lowered = RunCurves.load(whole(steps(0, 10, at_s=40 * 86_400), clock.now_ns))
    lowered.merge(RunCurves.load(whole(steps(10, 12))))
    assert read(log, runner) == lowered.dump()
    runner.save()
    assert read(log) == lowered.dump()


def test_curves_of_the_oldest_runs_get_coarse_and_then_make_room(
    log: Log, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "12345678"
    monkeypatch.setattr(fold_module, "KEPT_BYTES", 200_000)
    sizes = {}
    for name in names:
        writer.append(steps(0, 600, name))
        caught_up(log).save()
        with log.reader() as reader:
            store = log.curves(reader.log_id)
        sizes = {each: sum(len(row.content) for row in store.layers(each)[1]) for each in names}
    assert sum(sizes.values()) < 200_000
    assert sizes["8"] > 30_000, "the newest is as it was"
    assert sizes["1"] < 10_000
    found, _, mark = stored_curves(store, "1", [])
    assert mark.live == 8 * 600
    (curve,) = (curve for key, curve in found.curves() if key.name == "loss")
    (strand,) = curve.strands.values()
    assert len(strand.buckets) <= THIN_BUCKETS
    assert sum(bucket.points for bucket in strand.read()) == 600
    assert (strand.read()[0].first, strand.read()[-1].last) == (1, 1 / 600)
    # A run that goes on is whole in its new part, and merges with the coarse one.
    writer.append(steps(600, 700, "1"))
    caught_up(log).save()
    (curve,) = (c for key, c in stored_curves(store, "1", [])[0].curves() if key.name == "loss")
    assert sum(bucket.points for bucket in next(iter(curve.strands.values())).read()) == 700
    # Where all are coarse the oldest are removed.
    monkeypatch.setattr(fold_module, "KEPT_BYTES", 60_000)
    for more in (800, 900):
        writer.append(steps(more - 100, more, "1"))
        caught_up(log).save()
    assert store.layers("2")[1] == []
    assert store.layers("1")[1] != []


def test_without_a_store_the_rows_are_read_and_nothing_is_made(log: Log, writer: Writer) -> None:
    writer.append([*steps(0, 30), *steps(0, 5, "q")])
    with log.reader() as reader:
        found = curves_now(log, reader.now, "r", Filters(runs=("r",)))
        assert log.curves(reader.log_id).mark() is None
    assert found.dump() == whole(steps(0, 30))


def test_a_damaged_file_is_renamed_and_made_again(log: Log, writer: Writer, tmp_path: Path) -> None:
    writer.append(steps(0, 10))
    caught_up(log).save()
    (tmp_path / "realm_curves.db").write_bytes(b"no database" * 100)
    again = caught_up(log)
    again.save()
    assert read(log) == whole(steps(0, 10))
    assert [*tmp_path.glob("realm_curves.db.damaged-*")]

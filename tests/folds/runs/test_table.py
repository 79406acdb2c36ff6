"""The runs of a real log: memory and table together are as one fold of all rows."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from realm_telemetry.event import Event
from realm_telemetry.folds.runs import Reading, RunRecord, RunsRunner, shown, statuses
from realm_telemetry.folds.runs.damage import REASON, unsealed
from realm_telemetry.folds.runs.fold import loaded
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.log.engine import Log, Writer, open_log
from realm_telemetry.log.runs import RunsMark, RunsWanted, StoredRun

from .conftest import BEGIN_NS, SECOND, told


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
    return open_log(tmp_path / "jobs.db", clock_ns=clock)


@pytest.fixture
def writer(log: Log) -> Iterator[Writer]:
    with log.writer() as writer:
        yield writer


def of_run(run_id: str, event: Event) -> Event:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return Event(**{**fields, "run_id": run_id})


def caught_up(log: Log, runner: RunsRunner | None = None) -> RunsRunner:
    if runner is None:
        runner = RunsRunner(log, saves=False)
        runner.restart()
    with log.reader() as reader:
        runner.catch_up(every_row(reader.now))
    return runner


def everything(log: Log, runner: RunsRunner) -> list[tuple[str, bytes]]:
    with log.reader() as reader, reader.snapshot() as snapshot:
        page, _ = Reading(snapshot, runner.fold.layers()).page(RunsWanted())
    return [(run_id, record.dump()) for run_id, record in page]


def story(number: int) -> list[Event]:
    """Events of one process of a run."""
    process = f"{number:02x}"
    return [
        told(number, "run_started", process=process, command=f"train {number}"),
        *(
            told(number + step, "training_step", process=process, step=step, loss=1.0 / step)
            for step in range(1, 9)
        ),
        told(number + 9, "run_ended", process=process, status="completed"),
    ]


def test_wherever_it_is_saved_and_restarted_the_runs_are_the_same(log: Log, writer: Writer) -> None:
    events = [of_run(f"r{n % 7}", event) for n in range(20) for event in story(n)]
    random.Random(5).shuffle(events)
    runner = caught_up(log)
    for start in range(0, len(events), 20):
        writer.append(events[start : start + 20])
        caught_up(log, runner)
        if start % 60 == 0:
            runner.save()
        if start % 100 == 0:
            runner.restart()
    caught_up(log, runner)
    with log.reader() as reader:
        assert 0 < reader.now.runs_mark().cursor <= len(events)
    whole = RunsRunner(open_log(Path(log.place)), saves=False)
    whole.fold.take(_rows(log))
    expected = {run_id: record.dump() for run_id, record in whole.fold._records.items()}
    assert dict(everything(log, runner)) == expected


def _rows(log: Log) -> list:  # type: ignore[type-arg]
    with log.reader() as reader:
        return reader.now.after(0, 10_000)


def test_rows_that_arrive_while_it_is_saved_are_counted_once(log: Log, writer: Writer) -> None:
    writer.append([of_run("r", event) for event in story(1)[:5]])
    runner = caught_up(log)
    snapshot = runner.snapshot()
    writer.append([of_run("r", event) for event in story(1)[5:]])
    caught_up(log, runner)
    before = everything(log, runner)
    runner.save(snapshot)
    assert (runner.covered, runner.fold.cursor) == (5, 10)
    assert everything(log, runner) == before == everything(log, caught_up(log))


def test_layers_that_were_copied_before_a_saving_are_not_merged_twice(
    log: Log, writer: Writer
) -> None:
    writer.append([of_run("r", event) for event in story(1)])
    runner = caught_up(log)
    layers, before = runner.fold.layers(), everything(log, runner)
    runner.save()
    with log.reader() as reader, reader.snapshot() as snapshot:
        page, _ = Reading(snapshot, layers).page(RunsWanted())
    assert [(run_id, record.dump()) for run_id, record in page] == before


def test_of_two_processes_that_save_the_later_goes_on_from_the_other(
    log: Log, writer: Writer
) -> None:
    writer.append([of_run("r", event) for event in story(1)])
    one, other = caught_up(log), caught_up(log)
    one.save()
    other.save()
    assert (one.overtaken, other.overtaken) == (False, True)
    other.restart()
    assert not other.overtaken
    assert everything(log, caught_up(log, other)) == everything(log, one)


def test_runs_of_one_log_are_not_saved_into_another(log: Log, writer: Writer) -> None:
    """Whose file has taken the place of the first, and whose mark is the same."""
    writer.append([of_run("r", event) for event in story(1)])
    runner = caught_up(log)
    for end in ("", "-wal", "-shm"):
        Path(f"{log.place}{end}").unlink(missing_ok=True)
    log.writer().close()
    runner.save()
    assert (runner.overtaken, runner.covered) == (True, 0)
    assert everything(log, caught_up(log)) == []


def listed(log: Log) -> dict[str, tuple[str, str | None]]:
    """Status and reason of all runs."""
    with log.reader() as reader, reader.snapshot() as snapshot:
        page, _ = Reading(snapshot, caught_up(log).fold.layers()).page(RunsWanted())
    runs = [shown(run_id, record) for run_id, record in page]
    return {run["run_id"]: (run["status"], run["reason"]) for run in runs}


def test_a_record_that_cannot_be_read_is_known_by_the_table_beside_it(
    log: Log, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    """An end stays as it was; a run that went on is lost until it is heard of again."""
    known = {"a": "completed", "b": "failed", "c": "running", "d": None}
    damaged = [
        StoredRun(run_id, BEGIN_NS, BEGIN_NS + SECOND, status, f"python {run_id}", 0, b"\xc1")
        for run_id, status in known.items()
    ]
    writer.save_runs(damaged, RunsMark(0), after=0)
    assert listed(log) == {
        "a": ("completed", REASON),
        "b": ("failed", REASON),
        "c": ("lost", REASON),
    }
    assert "cannot be read" in caplog.text
    with log.reader() as reader, reader.snapshot() as snapshot:
        run = shown("a", Reading(snapshot, ()).record("a") or RunRecord())
    assert (run["started_at"], run["duration_s"]) == ("2025-11-29T00:00:00.000000Z", 1.0)
    assert run["command"] == "python a"
    writer.append([of_run("c", told(60, "training_step", step=1))])
    assert listed(log)["c"] == ("running", None)
    caught_up(log, runner := RunsRunner(log))
    runner.save()
    assert listed(log)["c"] == ("running", None)


def test_a_byte_that_a_disk_changed_fails_no_list(log: Log, writer: Writer) -> None:
    """Whichever it is: the record is as it was, or known to be damaged."""
    writer.append([of_run("r", event) for event in story(1)])
    runner = RunsRunner(log)
    runner.restart()
    caught_up(log, runner).save()
    with log.reader() as reader, reader.snapshot() as snapshot:
        stored = snapshot.run("r")
        mark = snapshot.runs_mark()
    assert stored is not None
    whole = shown("r", loaded(stored, mark))
    assert whole["reason"] != REASON
    chance = random.Random(1)
    for _ in range(2_000):
        record = bytearray(stored.record)
        record[chance.randrange(len(record))] ^= 1 << chance.randrange(8)
        found = shown("r", loaded(structs.replace(stored, record=bytes(record)), mark))
        assert found == whole or found["reason"] == REASON
    older = RunRecord.load(unsealed(stored.record)).dump()
    assert shown("r", loaded(structs.replace(stored, record=older), mark)) == whole


def test_runs_are_counted_as_memory_and_table_have_them_together(log: Log, writer: Writer) -> None:
    """One in the table alone, one in both with another status since, one in memory alone."""

    def counts() -> dict[str, int]:
        with log.reader() as reader, reader.snapshot() as snapshot:
            found = Reading(snapshot, runner.fold.layers()).counts()
        assert set(found) == set(statuses())
        return {status: count for status, count in found.items() if count}

    runner = RunsRunner(log)
    runner.restart()
    for number in (1, 2):
        writer.append([of_run(f"r{number}", event) for event in story(number)[:-1]])
    caught_up(log, runner)
    assert counts() == {"running": 2}
    runner.save()
    assert counts() == {"running": 2}
    writer.append([of_run("r2", story(2)[-1]), *(of_run("r3", event) for event in story(3))])
    writer.append([told(1, "worker_heartbeat", process="0f")])
    caught_up(log, runner)
    assert counts() == {"running": 1, "completed": 2}
    runner.save()
    assert counts() == {"running": 1, "completed": 2}


def test_many_runs_are_saved_while_a_log_is_caught_up(
    log: Log, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunsRunner, "max_touched", 10)
    writer.append([of_run(f"r{n}", told(n, "run_started", process=f"{n:02x}")) for n in range(99)])
    runner = RunsRunner(log)
    runner.restart()
    with log.reader() as reader:
        while runner.step(every_row(reader.now), 7):
            assert len(runner.fold) <= 10
    assert len(everything(log, runner)) == 99


def test_a_clock_that_was_ahead_does_not_freeze_runs_of_the_table(
    log: Log, writer: Writer, clock: Clock
) -> None:
    """The steps of the clock are kept for records that are not touched meanwhile."""
    clock.now_ns += 86_400 * SECOND
    steps = [of_run("r", told(86_400, "training_step", step=5))]
    steps.append(of_run("s", told(86_400, "training_step", process="b", step=1)))
    writer.append(steps)
    runner = caught_up(log)
    runner.save()
    clock.now_ns -= 86_400 * SECOND
    writer.append([of_run("s", told(3_600, "training_step", process="b", step=2))])
    caught_up(log, runner)
    runner.save()
    writer.append([of_run("r", told(3_601, "training_step", step=6))])
    caught_up(log, runner)
    for saved in (False, True):
        if saved:
            runner.save()
        with log.reader() as reader, reader.snapshot() as snapshot:
            reading = Reading(snapshot, runner.fold.layers())
            found = [reading.record(run_id) for run_id in "rs"]
        assert [record and shown("", record)["step"] for record in found] == [6, 2]

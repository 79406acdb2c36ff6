"""The table of runs: what is saved is found, and only by who has the newest mark."""

from pathlib import Path

import pytest

from realm_telemetry.log.engine import Reader, Writer
from realm_telemetry.log.runs import KEPT_SET_BACKS, RunsMark, RunsWanted, StoredRun


def run(number: int, **fields: object) -> StoredRun:
    given = {
        "run_id": f"run {number}/🐉",
        "started": number,
        "updated": number + 100,
        "status": "running",
        "command": f"python Train_{number}.py",
        "through": 7,
        "record": b"x",
    }
    return StoredRun(**(given | fields))  # type: ignore[arg-type]


def test_runs_are_found_with_the_mark_that_they_were_saved_with(
    writer: Writer, reader: Reader
) -> None:
    assert (reader.now.runs_mark(), reader.now.run("r")) == (RunsMark(), None)
    mark = RunsMark(7, ((3, 99),))
    assert writer.save_runs([run(1), run(2)], mark, after=0) == 7
    assert reader.now.runs_mark() == mark
    assert reader.now.run("run 2/🐉") == run(2)
    assert writer.save_runs([run(2, status="failed")], RunsMark(9), after=7) == 9
    assert [one.status for one in reader.now.runs(RunsWanted())] == ["failed", "running"]


def test_nothing_is_saved_from_an_older_mark(writer: Writer, reader: Reader) -> None:
    writer.save_runs([run(1)], RunsMark(7), after=0)
    assert writer.save_runs([run(1, status="failed")], RunsMark(8), after=3) == 7
    assert reader.now.run("run 1/🐉") == run(1)
    assert reader.now.runs_mark() == RunsMark(7)


WANTED = {
    "all": (RunsWanted(), [5, 4, 3, 2, 1]),
    "a few": (RunsWanted(limit=2), [5, 4]),
    "below a place": (RunsWanted(below=(3, "run 3/🐉")), [2, 1]),
    "by status": (RunsWanted(statuses=("failed", "lost")), [4]),
    "heard of since": (RunsWanted(since=103), [5, 4, 3]),
    "by words of the command": (RunsWanted(words="train_2"), [2]),
    "by words of the id": (RunsWanted(words="UN 3/"), [3]),
    "no command": (RunsWanted(words="python", since=105), []),
}


@pytest.mark.parametrize("case", WANTED)
def test_runs_are_listed_newest_first_as_wanted(case: str, writer: Writer, reader: Reader) -> None:
    wanted, expected = WANTED[case]
    hidden = run(9, status=None)
    runs = [run(1), run(2), run(3), run(4, status="failed"), run(5, command=None), hidden]
    writer.save_runs(runs, RunsMark(7), after=0)
    found = reader.now.runs(wanted)
    assert [one.started for one in found] == expected
    assert all(wanted.matches(one) for one in found)


def test_runs_are_counted_by_status(writer: Writer, reader: Reader) -> None:
    assert reader.now.run_counts() == {}
    runs = [run(1), run(2), run(3, status="failed"), run(9, status=None)]
    writer.save_runs(runs, RunsMark(7), after=0)
    assert reader.now.run_counts() == {"running": 2, "failed": 1}


def test_a_mark_keeps_the_last_steps_of_the_clock(path: Path) -> None:
    mark = RunsMark()
    for cursor in range(KEPT_SET_BACKS + 5):
        mark = mark.advanced(cursor, ((cursor, cursor),))
    assert len(mark.set_backs) == KEPT_SET_BACKS
    assert mark.set_backs[-1] == (KEPT_SET_BACKS + 4,) * 2

"""The table of runs in a file that was made before it."""

from realm_telemetry.log.engine import Log, Reader, Writer
from realm_telemetry.log.runs import RunsMark, RunsWanted
from realm_telemetry.log.sqlite.writer import own_writer

from ..test_runs import run  # noqa: TID252 - see conftest


def test_a_log_without_the_table_has_no_runs_and_gets_it_from_the_next_writer(
    log: Log, writer: Writer, reader: Reader
) -> None:
    """As logs of schema 12 that were made before the table."""
    writer.save_runs([run(1)], RunsMark(7), after=0)
    with own_writer(writer).transaction() as connection:
        connection.execute("DROP TABLE realm_runs")
    assert (reader.now.runs_mark(), reader.now.runs(RunsWanted())) == (RunsMark(), [])
    assert reader.now.run("run 1/🐉") is None
    with log.writer() as other:
        assert reader.now.runs_mark() == RunsMark(), "what it was true at has gone with it"
        assert other.save_runs([run(2)], RunsMark(8), after=0) == 8

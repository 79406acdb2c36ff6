"""Both engines answer alike, whatever events and filters."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm_telemetry.event import Event
from realm_telemetry.log import Filters
from realm_telemetry.log.engine import Log, Reader
from tests.postgres_server import Server

from .conftest import NOW, SECOND, Clock, PostgresEngine, SqliteEngine
from .test_filters import _filters, batches

pytestmark = pytest.mark.processes

_wanted = st.builds(
    lambda filters, q: msgspec.structs.replace(filters, q=q),
    _filters,
    st.sampled_from(["", "", "", "alpha", "beta", '"beta gamma"', "epee", "x 1", "checkpoint"]),
)


def answers(reader: Reader, filters: Filters, as_of: int | None) -> dict[str, Any]:
    """All that is asked with filters; what SQLite's index lags behind with is left out."""
    page = reader.now.page(filters, as_of)
    bars = reader.now.histogram(filters, 7, as_of)
    return {
        "page": [row.cursor for row in page.rows],
        "further": page.next_token,
        "total": (page.total, page.relation),
        "bars": [(bar.start_unix_nano, bar.end_unix_nano, bar.counts) for bar in bars.buckets],
        "width": (bars.width_ns, bars.total, bars.relation),
        "export": list(reader.export(filters, as_of)),
        "after": reader.now.after(0, filters=filters),
        "arrivals": [row for step in reader.arrivals(filters) for row in step.rows],
        "series": reader.now.series(filters, ["a", "c"], 10) if not filters.q else None,
    }


def of_the_whole(reader: Reader) -> dict[str, Any]:
    """All that is asked without filters."""
    log = reader.now
    return {
        "channels": log.channels(NOW - 1800 * SECOND),
        "happened": log.happened(),
        "summary": log.summary(("channel", "severity", "kind", "run", "hour"), NOW - SECOND, None),
        "latest": log.latest(3),
        "receipts": log.receipts(),
        "totals": log.receipt_totals(),
        "kinds": sorted(log.occurring_kinds()),
        "cursors": (log.min_cursor(), log.max_cursor(), log.cursor_before(NOW)),
        "oldest": log.oldest_time(),
    }


def compare(
    postgres: Server,
    paths: pytest.TempPathFactory,
    parts: list[list[Event]],
    wanted: list[Filters],
) -> None:
    """Give both engines the same, ask both the same."""
    path = paths.mktemp("log") / "jobs.db"
    clock = Clock(NOW + SECOND)
    logs: list[Log] = [
        engine.open(path, clock) for engine in (SqliteEngine(), PostgresEngine(postgres))
    ]
    found: list[Any] = []
    for log in logs:
        with log.writer() as writer, log.reader() as reader:
            results = [writer.append(part, pipeline="main") for part in parts]
            asked = [answers(reader, each, as_of) for each in wanted for as_of in (None, 5)]
            found.append((results, asked, of_the_whole(reader)))
    assert found[0] == found[1]


_parts = st.lists(batches(), min_size=1, max_size=2)
_some_filters = st.lists(_wanted, min_size=1, max_size=6)
_shared = [HealthCheck.function_scoped_fixture]


@settings(max_examples=settings().max_examples // 6, suppress_health_check=_shared)
@given(_parts, _some_filters)
def test_both_engines_answer_alike(
    postgres: Server,
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[Event]],
    wanted: list[Filters],
) -> None:
    compare(postgres, tmp_path_factory, parts, wanted)


@pytest.mark.long
@settings(max_examples=80, suppress_health_check=_shared)
@given(_parts, _some_filters)
def test_both_engines_answer_alike_in_many_examples(
    postgres: Server,
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[Event]],
    wanted: list[Filters],
) -> None:
    compare(postgres, tmp_path_factory, parts, wanted)

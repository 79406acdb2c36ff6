"""Full text search."""

from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.sqlite.plan import Plan
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.text import match_expression, words_of

from .conftest import NOW, make_event

MESSAGES = {
    1: "Checkpoint 183,000 saved (loss: 0.2340)",
    2: "Café opened; NOT a drill",
    3: 'He said "save the checkpoint" OR else',
    4: "checkpoint saved again",
}


@pytest.fixture
def index(writer: LogWriter) -> SearchIndex:
    writer.append([make_event(n, message=text, details={"n": n}) for n, text in MESSAGES.items()])
    return SearchIndex(writer.path, writer.path.with_name("search.db"))


def found(reader: LogReader, query: str, **filters: object) -> list[int]:
    page = reader.now.page(msgspec.structs.replace(Filters(q=query), **filters))
    return [row.event.number for row in page.rows]


QUERIES = [
    ("checkpoint", [4, 3, 1]),
    ("saved checkpoint", [4, 1]),
    ('"checkpoint saved"', [4]),
    ("CAFE", [2]),
    ("café not", [2]),
    ("OR", [3]),
    ('"unbalanced', []),
    ("job_started", [4, 3, 2, 1]),
    ("183,000", [1]),
    ("text:checkpoint", []),
    ("check*", []),
    ("NEAR(checkpoint saved)", []),
    ("(", None),
]


@pytest.mark.parametrize("indexed", [0, 2, 4])
@pytest.mark.parametrize(("query", "expected"), [pair for pair in QUERIES if pair[1] is not None])
def test_index_tail_and_live_filter_find_the_same(
    index: SearchIndex, reader: LogReader, indexed: int, query: str, expected: list[int]
) -> None:
    index.index_step(indexed) if indexed else None
    assert found(reader, query) == expected
    live = [row.event for row in reader.now.after(0)]
    assert [e.number for e in live if Filters(q=query).matches(e)] == expected[::-1]


def test_operators_are_only_words() -> None:
    assert match_expression('a OR "b-c" NOT* (d') == '"a" AND "or" AND "b c" AND "not" AND "d"'
    assert words_of("--- *") == []


def test_a_page_says_how_far_the_index_goes(index: SearchIndex, reader: LogReader) -> None:
    assert reader.now.page(Filters(q="saved")).indexed_through == 0
    assert index.index_step(3) == 3
    assert reader.now.page(Filters(q="saved")).indexed_through == 3
    assert (index.index_step(), index.index_step()) == (1, 0)
    assert index.indexed_through(reader.log_id) == 4


def test_bars_of_a_search_count_its_hits(index: SearchIndex, reader: LogReader) -> None:
    for _ in range(2):
        bars = reader.now.histogram(Filters(q="checkpoint"), 10)
        assert (bars.total, bars.relation) == (3, "eq")
        assert reader.now.histogram(Filters(q="checkpoint"), 10, as_of=3).total == 2
        index.index_step()


def test_routine_kinds_are_not_searched(
    writer: LogWriter, index: SearchIndex, reader: LogReader
) -> None:
    writer.append([make_event(5, kind="training_step", message="checkpoint step")])
    assert found(reader, "step") == []
    index.index_step()
    assert found(reader, "step") == []


def test_search_pages_by_arrival_without_repeat(
    writer: LogWriter, index: SearchIndex, reader: LogReader
) -> None:
    for start in range(10, 1010, 100):
        writer.append([make_event(start + n, message="needle") for n in range(100)])
    index.index_step(555)
    filters = Filters(q="needle", limit=30)
    numbers: list[int] = []
    while True:
        page = reader.now.page(filters)
        numbers += [row.event.number for row in page.rows]
        writer.append([make_event(5000 + len(numbers), message="needle")])
        if page.next_token is None:
            break
        filters = msgspec.structs.replace(filters, page_token=page.next_token)
    assert numbers == list(range(1009, 9, -1))


def test_other_filters_narrow_a_search(
    writer: LogWriter, index: SearchIndex, reader: LogReader
) -> None:
    writer.append([make_event(5, message="saved", channel="eval", time_unix_nano=NOW)])
    for _ in range(2):
        assert found(reader, "saved", channels=("eval",)) == [5]
        assert found(reader, "saved", until_unix_nano=NOW + 1) == [5]
        assert found(reader, "saved", limit=1) == [5]
        index.index_step()


def test_rows_that_are_gone_are_not_found(
    writer: LogWriter, index: SearchIndex, reader: LogReader
) -> None:
    index.index_step()
    with writer.transaction() as connection:
        connection.execute("DELETE FROM battle_log WHERE id = 4")
    assert found(reader, "checkpoint") == [3, 1]


def test_the_index_can_be_rebuilt(index: SearchIndex, reader: LogReader) -> None:
    index.index_step()
    index.rebuild()
    assert not index.search_path.exists()
    assert found(reader, "checkpoint") == [4, 3, 1]
    assert index.index_step() == 4


def test_a_broken_index_is_made_anew(index: SearchIndex, reader: LogReader) -> None:
    index.search_path.write_bytes(b"garbage" * 1000)
    assert found(reader, "checkpoint") == [4, 3, 1]
    assert index.index_step() == 4
    assert found(reader, "checkpoint") == [4, 3, 1]


def test_the_index_of_another_log_is_not_used(
    index: SearchIndex, reader: LogReader, tmp_path: Path
) -> None:
    index.index_step()
    other = tmp_path / "other.db"
    with LogWriter(other) as writer:
        writer.append([make_event(1, message="elsewhere")])
    moved = SearchIndex(other, index.search_path)
    with closing(LogReader(other)) as reader_of_other:
        assert moved.indexed_through(reader_of_other.log_id) == 0
    assert moved.index_step() == 1
    assert found(reader, "elsewhere") == []
    assert found(reader, "checkpoint") == [4, 3, 1]


def test_a_search_that_runs_out_of_time_says_where_it_stopped(
    writer: LogWriter, index: SearchIndex, reader: LogReader
) -> None:
    writer.append([make_event(n, message="hay") for n in range(10, 1010)])
    plan = Plan.of(Filters(q="café"))
    with reader.snapshot() as log:
        hits = index.query(log.connection, plan, below=1005, limit=5, deadline=0.0)
    assert hits.ids == []
    assert hits.further is not None
    assert hits.further < 1005


@pytest.mark.usefixtures("own_catalog")
@pytest.mark.parametrize("indexed", [True, False])
def test_search_leaves_out_a_routine_kind_of_the_users(
    writer: LogWriter, reader: LogReader, indexed: bool
) -> None:
    kind = KindSpec("ray_traced", "training", "warning", "Ray {number}", routine=True)
    writer.register_kind(kind)
    writer.append([make_event(1, kind="ray_traced"), make_event(2)])
    if indexed:
        SearchIndex(writer.path, writer.path.with_name("search.db")).index_step()
    assert [row.event.number for row in reader.now.page(Filters(q="Job")).rows] == [2]

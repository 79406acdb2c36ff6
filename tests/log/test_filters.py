"""The one set of filters."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm_telemetry.event import Event
from realm_telemetry.log import Filters, InvalidFilterError, parse_filters, to_params
from realm_telemetry.log.engine import Reader, Writer
from realm_telemetry.log.fields import FIELDS, Field
from realm_telemetry.log.filters import (
    MAX_HAS,
    MAX_LIMIT,
    MAX_NAME_CHARS,
    MAX_NAMES,
    MAX_PHRASES,
    MAX_WORDS_CHARS,
)
from realm_telemetry.log.has import Has
from realm_telemetry.log.times import parse_time
from realm_telemetry.values.paths import MAX_KEYS

from .conftest import HOUR, NOW, SECOND, Clock, EngineUnderTest, make_event


def clock() -> int:
    return NOW


def test_all_parameters_are_understood() -> None:
    filters = parse_filters(
        {
            "channels": "jobs,eval",
            "kind": ["job_started", "job_failed, eval_started"],
            "severity": "error",
            "hero": "dio",
            "campaign": "c1,! c2",
            "run": ["r7", "!r8,!r9"],
            "producer": "00112233445566AA,!FFFFFFFFFFFFFFFF",
            "source": "trainer,!none",
            "trace": "AB" * 16,
            "since": "15m",
            "until": "now",
            "q": " saved ",
            "has": "job.id:a:b",
            "not": ["status:ok"],
            "limit": "7",
            "cursor": "abc",
        },
        now_ns=clock,
    )
    assert filters == Filters(
        channels=("jobs", "eval"),
        kinds=("job_started", "job_failed", "eval_started"),
        severities=("error",),
        heroes=("dio",),
        campaigns=("c1",),
        runs=("r7",),
        producers=("00112233445566aa",),
        sources=("trainer",),
        traces=("ab" * 16,),
        not_campaigns=("c2",),
        not_runs=("r8", "r9"),
        not_producers=("ffffffffffffffff",),
        not_sources=("none",),
        since_unix_nano=NOW - 900 * SECOND,
        until_unix_nano=NOW,
        q="saved",
        has=(Has("job.id", "a:b"),),
        has_not=(Has("status", "ok"),),
        limit=7,
        page_token="abc",
    )
    assert parse_filters(to_params(filters)) == filters


def test_channel_and_its_alias_add_up() -> None:
    assert parse_filters({"channel": "jobs", "channels": "eval"}).channels == ("jobs", "eval")


def test_nothing_asked_for_means_everything() -> None:
    assert parse_filters({"channel": "", "q": ""}) == Filters()
    assert Filters().matches(make_event())


@pytest.mark.parametrize(
    ("params", "parameter", "hint"),
    [
        ({"chanel": "jobs"}, "chanel", "Did you mean channel?"),
        ({"severity": "warn"}, "severity", "Did you mean warning?"),
        ({"severity": "!warn"}, "severity", "Did you mean warning?"),
        ({"run": "r1,!"}, "run", "run=!name"),
        ({"channels": "trainin"}, "channels", "Did you mean training?"),
        ({"since": "last week"}, "since", "Write 15m"),
        ({"limit": "0"}, "limit", "1 to 1000"),
        ({"limit": "1001"}, "limit", "1 to 1000"),
        ({"limit": "ten"}, "limit", "1 to 1000"),
        ({"limit": "²"}, "limit", "1 to 1000"),
        ({"has": "step"}, "has", "has=path:value"),
        ({"has": f"{'a' * 257}:1"}, "has", "has=path:value"),
        ({"has": '"a\\x":1'}, "has", "has=path:value"),
        ({"not": ":1"}, "not", "not=path:value"),
        ({"q": "---"}, "q", "words"),
    ],
)
def test_a_mistake_is_named_with_a_way_out(params: Any, parameter: str, hint: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_filters(params)
    assert caught.value.parameter == parameter
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("now", NOW),
        ("15m", NOW - 900 * SECOND),
        ("24h ago", NOW - 24 * HOUR),
        ("7D", NOW - 168 * HOUR),
        ("2025-11-29", NOW),
        ("2025-11-29T00:00:00Z", NOW),
        ("2025-11-29T00:00:00.000000001Z", NOW + 1),
        ("2025-11-29T00:00", NOW),
        ("2025-11-29 01:00:00+01:00", NOW),
        ("2025-11-29T01:00:00.5 01:00", NOW + SECOND // 2),
        ("1764374400", NOW),
        ("1764374400.25", NOW + SECOND // 4),
        ("-86400", -24 * HOUR),
    ],
)
def test_times_are_read_as_people_write_them(text: str, nanos: int) -> None:
    assert parse_time(text, NOW) == nanos


@pytest.mark.parametrize("text", ["", "soon", "2025-13-01", "12", "15 parsecs", "nan", "1e9"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_time(text, NOW)


_words = st.sampled_from(["alpha", "Beta gamma", "épée", "checkpoint_saved", "x-1"])
_values = st.sampled_from(
    ["1", "1.0", "0.1", "1e16", "true", "null", "a:b", "", "1.5", "10000000000000000", "nan"]
)
_details_values: st.SearchStrategy[Any] = st.sampled_from(
    [1, 1.0, 0.1, 1e16, 10**16, True, False, None, "1", "a:b", "", "true", 1.5, 2**53 + 1, [1], {}]
)
_nested = st.recursive(
    _details_values,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["b", "e", "0", '"[1]']), inner, max_size=2)
    ),
    max_leaves=4,
)
_details = st.dictionaries(st.sampled_from(["a", "a.b", "c", "d"]), _nested, max_size=3)
# Values of every field; None where an event may have none. A new row of FIELDS needs a line here.
_few: dict[str, list[str | int | None]] = {
    "channel": ["jobs", "training"],
    "kind": ["job_started", "training_step"],
    "severity": ["info", "error"],
    "hero": ["dio", "ada", None],
    "campaign": ["c1", None],
    "run": ["r1", '!a,"b', None],
    "rank": [0, 7, None],
    "producer": ["00112233445566aa", "ffffffffffffffff"],
    "source": ["trainer", "vault.sync", None],
    "trace": ["ab" * 16, None],
}


def _names(field: Field) -> list[str]:
    return [
        *(str(value) for value in _few[field.name] if value is not None),
        *filter(None, [field.absent]),
    ]


@st.composite
def batches(draw: st.DrawFn) -> list[Event]:
    return [
        make_event(
            number,
            message=draw(_words),
            details=draw(_details),
            time_unix_nano=NOW + draw(st.integers(-3, 3)) * HOUR // 2,
            **{field.column: draw(st.sampled_from(_few[field.name])) for field in FIELDS},
        )
        for number in range(1, draw(st.integers(0, 12)) + 1)
    ]


_has = st.lists(
    st.builds(Has, st.sampled_from(["a", "a.b", "c", "d.e"]), _values), max_size=2, unique=True
).map(tuple)
_times = st.none() | st.integers(-4, 4).map(lambda half: NOW + half * HOUR // 2)
_filters = st.builds(
    Filters,
    **{
        name: st.lists(st.sampled_from(_names(field)), max_size=size, unique=True).map(tuple)
        for field in FIELDS
        for name, size in ((field.plural, 2), (field.not_plural, 1))
    },
    since_unix_nano=_times,
    until_unix_nano=_times,
    has=_has,
    has_not=_has,
    limit=st.integers(1, 5),
)


@settings(
    max_examples=settings().max_examples * 3 // 2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batches(), st.lists(_filters, min_size=1, max_size=8))
def test_sql_and_python_want_the_same_events(
    engine: EngineUnderTest,
    tmp_path_factory: pytest.TempPathFactory,
    events: list[Event],
    wanted: list[Filters],
) -> None:
    path = tmp_path_factory.mktemp("log") / "jobs.db"
    log = engine.open(path, Clock())
    with log.writer() as writer, log.reader() as reader:
        writer.append(events)
        for filters in wanted:
            expected = [event.id for event in events if filters.matches(event)]
            assert [row.event.id for row in reader.now.after(0, filters=filters)] == expected
            pages = list(reader.export(filters))
            assert sorted(row.event.id for row in pages) == sorted(expected)
            order = [(row.event.time_unix_nano, row.cursor) for row in pages]
            assert order == sorted(order, reverse=True)
            page = reader.now.page(filters)
            assert (page.total, page.relation) == (len(expected), "eq")
            assert [row.cursor for row in page.rows] == [
                row.cursor for row in pages[: filters.limit]
            ]
            bars = reader.now.histogram(filters, 7)
            assert (bars.total, bars.relation) == (len(expected), "eq")


@pytest.mark.parametrize(
    ("has", "found"),
    [
        ("tags:warmup", True),
        ("tags:lr", False),
        ("steps:3", True),
        ("steps:3.0", True),
        ("steps:4", False),
        ("steps:0.30000000000000004", True),
        ("steps:0.3", False),
        ("flags:true", True),
        ("flags:null", False),
        ("gpus.name:A100", True),
        ("gpus.0.name:A100", False),
        ("run.tags:warmup", True),
        ("matrix:1", False),
    ],
)
def test_any_entry_of_a_list_will_do(has: str, found: bool, writer: Writer, reader: Reader) -> None:
    details = {
        "tags": ["cold", "warmup"],
        "steps": [2, 3, 0.1 + 0.2],
        "flags": [True],
        "gpus": [{"name": "H100"}, {"name": "A100"}],
        "run": {"tags": ["warmup"]},
        "matrix": [[1]],
    }
    event = make_event(1, details=details)
    writer.append([event])
    filters = parse_filters({"has": has})
    assert filters.matches(event) is found
    assert bool(reader.now.page(filters).rows) is found
    assert bool(reader.now.page(parse_filters({"not": has})).rows) is not found


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ("trainer", [2]),
        ("none", [3, 1]),
        ("none,trainer", [3, 2, 1]),
        ("!none", [4, 2]),
        ("!trainer", [4, 3, 1]),
        ("event.job_started", []),
    ],
)
def test_a_source_is_the_one_given_and_none_means_nothing_was_given(
    source: str, numbers: list[int], writer: Writer, reader: Reader
) -> None:
    given = (None, "trainer", "", "eval_runner")
    writer.append([make_event(number, source=name) for number, name in enumerate(given, 1)])
    filters = parse_filters({"source": source})
    page = reader.now.page(filters)
    assert [row.event.number for row in page.rows] == numbers
    assert (page.total, page.relation) == (len(numbers), "eq")
    shown = [row.event.number for row in reader.now.after(0) if filters.matches(row.event)]
    assert shown == sorted(numbers)


def test_what_has_no_hero_is_not_left_out_with_one(writer: Writer, reader: Reader) -> None:
    writer.append([make_event(1, hero_id="dio"), make_event(2, hero_id=None)])
    page = reader.now.page(parse_filters({"hero": "!dio"}))
    assert [row.event.number for row in page.rows] == [2]
    assert (page.total, page.relation) == (1, "eq")


@pytest.mark.parametrize(
    ("given", "runs", "not_runs"),
    [
        ('"a,b",c', ("a,b", "c"), ()),
        ('!"a,b", ! "d", e', ("e",), ("a,b", "d")),
        ('"!x"', ("!x",), ()),
        ('"a\\"b"', ('a"b',), ()),
        ('"open,c', ('"open', "c"), ()),
        ('"a,b"c', ('"a', 'b"c'), ()),
        ('"\\x"', ('"\\x"',), ()),
        (['"a,b"', "c,d"], ("a,b", "c", "d"), ()),
    ],
)
def test_a_name_with_a_comma_is_written_as_json_text(
    given: str | list[str], runs: tuple[str, ...], not_runs: tuple[str, ...]
) -> None:
    filters = parse_filters({"run": given})
    assert (filters.runs, filters.not_runs) == (runs, not_runs)
    assert parse_filters(to_params(filters)) == filters


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3))
def test_any_name_survives_as_a_parameter(names: list[str]) -> None:
    filters = Filters(runs=tuple(dict.fromkeys(names)), not_heroes=tuple(dict.fromkeys(names)))
    assert parse_filters(to_params(filters)) == filters


@given(_filters)
def test_filters_survive_as_parameters(filters: Filters) -> None:
    assert parse_filters(to_params(filters)) == filters


def _numbered(count: int) -> str:
    return ",".join(f"n{number}" for number in range(count))


@pytest.mark.parametrize(
    ("parameter", "within", "beyond"),
    [
        ("has", [f"a:{n}" for n in range(MAX_HAS)], [f"a:{n}" for n in range(MAX_HAS + 1)]),
        ("not", [f"a:{n}" for n in range(MAX_HAS)], [f"a:{n}" for n in range(MAX_HAS + 1)]),
        ("has", "a:" + "x" * (MAX_NAME_CHARS - 2), "a:" + "x" * (MAX_NAME_CHARS - 1)),
        ("not", ".".join("a" * MAX_KEYS) + ":1", ".".join("a" * (MAX_KEYS + 1)) + ":1"),
        ("hero", _numbered(MAX_NAMES), _numbered(MAX_NAMES + 1)),
        ("kind", [_numbered(60), "!b,!c"], [_numbered(99), "!b,!c"]),
        ("run", "x" * MAX_NAME_CHARS, "x" * (MAX_NAME_CHARS + 1)),
        ("source", "!" + "x" * MAX_NAME_CHARS, "!" + "x" * (MAX_NAME_CHARS + 1)),
        ("q", "x" * MAX_WORDS_CHARS, "x" * (MAX_WORDS_CHARS + 1)),
        ("q", "x " * MAX_PHRASES, "x " * (MAX_PHRASES + 1)),
        ("limit", str(MAX_LIMIT), str(MAX_LIMIT + 1)),
        ("limit", "0" * 50 + "10", "000001000" + "9" * 20),
    ],
)
def test_a_query_has_a_largest_size(parameter: str, within: Any, beyond: Any) -> None:
    """What every row is held against is bounded, whoever asks."""
    assert parse_filters({parameter: within}) != Filters()
    with pytest.raises(InvalidFilterError) as caught:
        parse_filters({parameter: beyond})
    assert caught.value.parameter == parameter


def test_a_filter_of_bytes_that_are_not_utf_8_finds_nothing_and_is_no_error() -> None:
    """Arguments of a command line come so."""
    assert parse_filters({"run": "r\udcff"}).runs == ("r\ufffd",)


@pytest.mark.parametrize(
    "text",
    ["1764410400", "1764410400000", "1764410400000.0", "1764410400000000", "1764410400" + "0" * 9],
)
def test_a_moment_may_be_a_number_of_any_unit(text: str) -> None:
    assert parse_filters({"since": text}).since_unix_nano == 1_764_410_400 * 10**9


def test_eight_digits_are_a_day_and_other_small_numbers_seconds() -> None:
    day = parse_filters({"since": "2025-11-29"}).since_unix_nano
    assert parse_filters({"since": "20251129"}).since_unix_nano == day
    assert parse_filters({"since": "20251399"}).since_unix_nano == 20_251_399 * 10**9
    assert parse_filters({"since": "00005.000000001"}).since_unix_nano == 5 * 10**9 + 1
    with pytest.raises(InvalidFilterError, match="is not a time"):
        parse_filters({"since": "99999999999999"})

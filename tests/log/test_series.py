"""Numbers over time: exact for short runs, sampled for long ones, never without its spikes."""

import math

import pytest

from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.filters import Filters, parse_filters
from realm_telemetry.log.graphs import Point, thin
from realm_telemetry.log.has import Has

from .conftest import NOW, SECOND, make_event, training_step

STEPS = Filters(kinds=("training_step",), runs=("r1",))


def test_a_short_run_comes_whole_oldest_first(writer: LogWriter, reader: LogReader) -> None:
    """With cursor, time, step and each field, nested ones too; other runs are left out."""
    writer.append(
        [
            training_step(1, 2.0),
            training_step(2, "NaN"),
            training_step(3, "much"),
            training_step(4, 0.5),
        ]
    )
    writer.append([training_step(5, 9.0, producer="00000000000000cc")])
    found = reader.now.series(STEPS, ["loss", "optimizer.rate"])
    assert found.fields == ["loss", "optimizer.rate"]
    assert not found.sampled
    assert found.points[0] == (1, (NOW + SECOND) // 1_000_000, 1, 2.0, 0.1)
    assert [point[3] for point in found.points] == [2.0, "NaN", None, 0.5, 9.0]
    other = Filters(kinds=("training_step",), producers=("00000000000000cc",))
    assert [point[3] for point in reader.now.series(other, ["loss"]).points] == [9.0]


def test_nothing_makes_an_empty_series(reader: LogReader) -> None:
    """An empty log, and one without such events."""
    assert reader.now.series(STEPS, ["loss"]).points == []


@pytest.mark.parametrize("fields", [[], [""], ["x" * 257], [f"f{n}" for n in range(9)]])
def test_no_name_too_many_and_one_too_long_are_refused(
    reader: LogReader, fields: list[str]
) -> None:
    """At their limits they are taken."""
    with pytest.raises(ValueError, match="name"):
        reader.now.series(STEPS, fields)
    assert reader.now.series(STEPS, ["x" * 256]).points == []


NAMES = (
    *("train/loss", "eval/accuracy", "train.loss", "gen_ai.usage.input_tokens", "val loss"),
    *(
        'say "x"',
        "back\\slash",
        "loss[0]",
        "$.loss",
        "a.b/c",
        "verlust_größe",
        "損失",
        "a:b",
        "a,b",
    ),
    *("'; DROP TABLE battle_log; --", "a..b", ".a", "line\nbreak", "%", "?", "*", "#"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_detail_of_any_name_is_found(name: str, writer: LogWriter, reader: LogReader) -> None:
    """By a series, by a filter in SQL, and by the same filter over events that arrive."""
    details = {"step": 1, name: 0.25}
    writer.append([make_event(1, details=details), make_event(2, details={"step": 2})])
    assert [point[3] for point in reader.now.series(Filters(), [name]).points] == [0.25, None]
    for value, cursors in (("0.25", [1]), ("0.5", [])):
        filters = parse_filters({"has": str(Has(name, value))})
        assert [row.cursor for row in reader.now.page(filters).rows] == cursors
        assert [row.cursor for row in reader.now.after(0) if filters.matches(row.event)] == cursors
        without = parse_filters({"not": str(Has(name, value))})
        assert len(reader.now.page(without).rows) == 2 - len(cursors)


def test_a_flat_name_comes_before_a_nested_one(writer: LogWriter, reader: LogReader) -> None:
    """A name with dots is a key as it stands first, and a way through objects second."""
    flat, nested = {"train.loss": 1}, {"train": {"loss": 2}}
    for number, details in enumerate((flat | nested, nested, {"train": 3}), 1):
        writer.append([make_event(number, details=details)])
    found = reader.now.series(Filters(), ["train.loss"]).points
    assert [point[3] for point in found] == [1, 2, None]


def test_true_and_text_of_numbers_are_no_odd_points(writer: LogWriter, reader: LogReader) -> None:
    """True is 1, as SQLite says; text is none, but for the names of what is not finite."""
    for number, value in enumerate((True, "0.5", "NaN", None, [1], 2**62), 1):
        writer.append([make_event(number, details={"loss": value})])
    found = reader.now.series(Filters(), ["loss"]).points
    assert [point[3] for point in found] == [1, None, "NaN", None, None, 2**62]


def test_eight_fields_are_taken(reader: LogReader) -> None:
    """As many as the limit says."""
    assert len(reader.now.series(STEPS, [f"f{n}" for n in range(8)]).fields) == 8


def test_thinning_keeps_spikes_and_what_is_not_finite() -> None:
    """Of each group the least, the greatest and one that is no number."""
    points: list[Point] = [(n, n, n, math.sin(n / 50)) for n in range(4_000)]
    points[1_234] = (1_234, 1_234, 1_234, 99.0)
    points[2_345] = (2_345, 2_345, 2_345, "NaN")
    kept = thin(points, 200)
    assert len(kept) <= 201
    assert {1_234, 2_345} <= {point[0] for point in kept}
    assert [point[1] for point in kept] == sorted(point[1] for point in kept)


def test_as_many_as_wanted_are_left_as_they_are() -> None:
    """At and below the number."""
    points: list[Point] = [(n, n, n, float(n)) for n in range(100)]
    assert thin(points, 100) == points
    assert len(thin(points, 99)) < 100


def test_the_oldest_time_is_that_of_the_oldest_row(writer: LogWriter, reader: LogReader) -> None:
    """Whatever the order of arrival."""
    assert reader.now.oldest_time() is None
    writer.append([make_event(5), make_event(2), make_event(9)])
    assert reader.now.oldest_time() == NOW + 2 * SECOND

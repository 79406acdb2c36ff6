"""Numbers over time: exact for short runs, sampled for long ones, never without its spikes."""

import math

import pytest

from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.graphs import Point, thin

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


@pytest.mark.parametrize("fields", [[], ["a b"], ["$.x"], ['x"'], [f"f{n}" for n in range(9)]])
def test_other_names_are_refused(reader: LogReader, fields: list[str]) -> None:
    """Before they reach the SQL."""
    with pytest.raises(ValueError, match="detail"):
        reader.now.series(STEPS, fields)


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

"""The fold of events into metrics."""

import math
from typing import Any

import pytest

from realm_telemetry.folds.metrics import (
    FRESH_NS,
    OVERFLOW,
    Attribute,
    Definition,
    Distribution,
    Instrument,
    Latest,
    Metrics,
    Series,
)

from .conftest import SECOND_NS, START_NS, Made, folded, shown

COUNTER = Instrument(
    "realm.events", "counter", "All.", attributes=(Attribute("realm.kind", "kind"),)
)
GAUGE = Instrument(
    "realm.training.loss",
    "gauge",
    "Loss.",
    kinds=("training_step",),
    detail="loss",
    attributes=(Attribute("realm.run.id", "run_id"),),
)


def points(series: Series) -> list[tuple[dict[str, Any], Any]]:
    return list(shown(series))


def test_events_are_counted_by_channel_kind_and_severity(make: Made) -> None:
    """A kind of several severities has a series of each."""
    events = [make("job_started"), make("job_started", severity="error"), make("job_started")]
    assert points(folded(events)["realm.events"]) == [
        ({"realm.channel": "jobs", "realm.kind": "job_started", "realm.severity": "info"}, 2),
        ({"realm.channel": "jobs", "realm.kind": "job_started", "realm.severity": "error"}, 1),
    ]


def test_a_cursor_that_comes_again_counts_once(make: Made) -> None:
    """Whoever reads the log twice changes nothing."""
    events = [make("note"), make("note")]
    metrics = folded(events)
    metrics.apply(events[0], 1)
    metrics.apply(events[1], 2)
    assert [count for _, count in points(metrics["realm.events"])] == [2]
    assert metrics.cursor == 2


def test_a_training_step_moves_the_gauges_of_its_run_and_hero(make: Made) -> None:
    """Each number is a gauge of its own, with the event's time."""
    details = {"step": 7, "loss": 0.25, "learning_rate": 1e-3, "tokens_per_second": 12_000}
    event = make("training_step", details=details, run_id="r7", hero_id="dio")
    metrics = folded([event])
    attributes = {"realm.run.id": "r7", "realm.hero.id": "dio"}
    assert points(metrics["realm.training.loss"]) == [(attributes, 0.25)]
    assert points(metrics["realm.training.learning_rate"]) == [(attributes, 1e-3)]
    assert points(metrics["realm.training.throughput"]) == [(attributes, 12_000.0)]
    assert points(metrics["realm.training.step"]) == [(attributes, 7.0)]
    point = next(iter(metrics["realm.training.loss"].points.values()))
    assert isinstance(point, Latest)
    assert point.time_unix_nano == event.time_unix_nano


def test_a_gauge_keeps_the_latest_by_time_whatever_arrives_last(make: Made) -> None:
    """A late event changes nothing; of one moment the greater event id counts."""
    late = make("training_step", details={"loss": 9.0}, time_unix_nano=START_NS - SECOND_NS)
    first = make("training_step", details={"loss": 0.5}, time_unix_nano=START_NS)
    second = make("training_step", details={"loss": 0.4}, time_unix_nano=START_NS)
    for order in ([first, second, late], [late, second, first], [second, late, first]):
        assert points(folded(order)["realm.training.loss"]) == [({}, 0.4)]


def test_accuracy_is_kept_by_skill_and_level(make: Made) -> None:
    """Levels are text, as labels are; an eval without a skill has none."""
    events = [
        make("eval_completed", details={"skill": "digits", "level": 3, "accuracy": 0.9}),
        make("eval_completed", details={"accuracy": 0.1}),
    ]
    assert points(folded(events)["realm.eval.accuracy"]) == [
        ({"realm.eval.skill": "digits", "realm.eval.level": "3"}, 0.9),
        ({}, 0.1),
    ]


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(0, 0), (0.01, 0), (0.0100001, 1), (86_400, 15), (86_400.1, 16), (1e18, 16)],
)
def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed(
    make: Made, value: float, bucket: int
) -> None:
    """Bounds belong to the bucket below; the last bucket has no bound."""
    event = make("job_completed", details={"duration_s": value, "job_type": "eval"})
    (point,) = folded([event])["realm.job.duration"].points.values()
    assert isinstance(point, Distribution)
    assert (point.count, point.sum, point.minimum, point.maximum) == (1, value, value, value)
    assert point.buckets == [int(place == bucket) for place in range(17)]


@pytest.mark.parametrize("value", [-0.001, "NaN", "Infinity", "-Infinity", "12", None, True, [1]])
def test_what_is_no_duration_is_not_in_the_histogram(make: Made, value: Any) -> None:
    """A sum has to grow, so that rates can be taken of it."""
    series = folded([make("job_completed", details={"duration_s": value})])["realm.job.duration"]
    assert points(series) == []


def test_a_loss_that_is_not_a_number_shows_as_such(make: Made) -> None:
    """A run that diverged should look like it; the words are those that `emit` writes."""
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    for word, number in words.items():
        ((_, value),) = points(
            folded([make("training_step", details={"loss": word})])["realm.training.loss"]
        )
        assert value == number or (math.isnan(value) and math.isnan(number))


@pytest.mark.parametrize(
    ("value", "text"),
    [("eval", "eval"), (3, "3"), (True, "true"), ("x" * 200, "x" * 128), ("", None), ([1], None)],
)
def test_an_attribute_is_short_text_or_absent(make: Made, value: Any, text: str | None) -> None:
    """To Prometheus an empty label is none, and two series with the same labels are an error."""
    event = make("job_completed", details={"duration_s": 1, "job_type": value})
    ((attributes, _),) = points(folded([event])["realm.job.duration"])
    assert attributes.get("realm.job.type") == text


@pytest.mark.parametrize(("kinds", "overflow"), [(2, None), (3, None), (4, 1), (6, 3)])
def test_what_comes_after_the_last_place_goes_into_the_overflow_series(
    make: Made, kinds: int, overflow: int | None
) -> None:
    """Four series are three and the overflow; those that came first go on."""
    events = [make(f"kind_{number}") for number in range(kinds)]
    series = folded([*events, make("kind_0")], Definition((COUNTER,), 4))["realm.events"]
    counts = points(series)
    assert counts[0] == ({"realm.kind": "kind_0"}, 2)
    assert len(counts) == min(kinds, 4)
    assert dict(enumerate(counts)).get(3) == (overflow and ({OVERFLOW: True}, overflow))
    assert sum(count for _, count in counts) == kinds + 1


@pytest.mark.parametrize(("age_ns", "taken"), [(FRESH_NS, False), (FRESH_NS + 1, True)])
def test_a_gauge_that_stood_still_for_an_hour_gives_its_place_to_a_new_run(
    make: Made, age_ns: int, taken: bool
) -> None:
    """Else a lab would see no run after its five-hundredth."""
    first = make("training_step", details={"loss": 1.0}, run_id="a", time_unix_nano=START_NS)
    other = make("training_step", details={"loss": 2.0}, run_id="b", time_unix_nano=START_NS + 5)
    new = make("training_step", details={"loss": 3}, run_id="c", time_unix_nano=START_NS + age_ns)
    series = folded([first, other, new], Definition((GAUGE,), 3))["realm.training.loss"]
    runs = {
        attributes.get("realm.run.id", "overflow"): value for attributes, value in shown(series)
    }
    assert runs == ({"b": 2.0, "c": 3.0} if taken else {"a": 1.0, "b": 2.0, "overflow": 3.0})


def test_a_dump_goes_on_where_it_was_written(make: Made) -> None:
    """The same as folding all at once, with overflow, gauges, histograms, cursor and start."""
    steps = [
        make("training_step", details={"loss": 1 / n}, run_id=f"r{n % 5}") for n in range(1, 20)
    ]
    jobs = [make("job_completed", details={"duration_s": n, "job_type": f"t{n}"}) for n in range(9)]
    events = [*steps[:10], *jobs, *steps[10:]]
    definition = Definition(max_series=4)
    at_once = folded(events, definition)
    half = folded(events[:14], definition)
    again = Metrics.load(half.dump(), definition)
    for cursor, event in enumerate(events, 1):
        again.apply(event, cursor)
    assert again.dump() == at_once.dump()
    assert (again.cursor, again.start_unix_nano) == (len(events), events[0].time_unix_nano)


def test_a_dump_of_other_instruments_is_refused(make: Made) -> None:
    """Counts that began with other bounds or names cannot be gone on with."""
    dumped = folded([make("note")], Definition((COUNTER,))).dump()
    for other in (Definition((COUNTER,), 9), Definition((GAUGE,))):
        with pytest.raises(ValueError, match="other instruments"):
            Metrics.load(dumped, other)
    with pytest.raises(ValueError, match="MessagePack"):
        Metrics.load(b"\xc1", Definition())


def test_what_changed_since_is_known(make: Made) -> None:
    """A push sends the gauges that moved; a late event moves none."""
    first = make("training_step", details={"loss": 1.0}, run_id="a")
    metrics = folded([first])
    series = metrics["realm.training.loss"]
    assert series.changed == {("a", None)}
    series.changed.clear()
    metrics.apply(make("training_step", details={"loss": 9}, run_id="a", time_unix_nano=1), 2)
    assert series.changed == set()


@pytest.mark.parametrize("beyond", [10**400, -(10**400), 2**1024], ids=["+", "-", "least"])
def test_an_integer_beyond_all_floats_is_no_number(beyond: int, make: Made) -> None:
    """An older log may hold one, and must not keep the service from folding what follows."""
    events = [
        make("training_step", run_id="r", details={"loss": loss}) for loss in (0.5, beyond, 0.25)
    ]
    assert points(folded(events)["realm.training.loss"]) == [
        ({"realm.run.id": "r"}, 0.25),
    ]
    assert points(folded(events[:2])["realm.training.loss"])[0][1] == 0.5

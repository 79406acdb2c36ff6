"""What readers see of curves: names, attempts, ranks, points that are not finite."""

from typing import Any

from realm_telemetry.event import Event
from realm_telemetry.folds.curves import RunCurves
from realm_telemetry.folds.curves.view import (
    Metric,
    listed,
    metrics_of,
    series_of,
    totals,
    wanted_metrics,
)

NOW_NS = 1_764_374_400_000_000_000
SECOND = 1_000_000_000


def told(
    at_s: float,
    step: int | None,
    process: str = "a",
    rank: int | None = None,
    kind: str = "training_step",
    **values: Any,
) -> Event:
    details = values if step is None else {"step": step, **values}
    time_ns = NOW_NS + int(at_s * SECOND)
    number = int(at_s * 1000) + 1
    return Event(
        kind, "training", "info", "", details, time_ns, process * 16, number, run_id="r", rank=rank
    )


def _named(values: Any) -> Any:
    return values


def of(*events: Event) -> dict[str, Metric]:
    curves = RunCurves()
    for event in events:
        curves.add(event)
    return {metric.name: metric for metric in metrics_of(curves)}


def test_numbers_are_found_by_themselves_and_grouped_loss_first() -> None:
    sample: Any = {
        "rss_bytes": 5,
        "home_free_bytes": 7,
        "gpus": [{"index": 1, "name": "x", "power_w": 300.5}],
    }
    found = of(
        told(1, 1, loss=1.0, acc=0.5, text="x", flag=True, total_steps=9, deep={"a": {"b": 2}}),
        told(2, 1, kind="evaluation_finished", loss=2.0, eval_bleu=3),
        told(3, 1, kind="reward_seen", reward=4),
        told(4, None, kind="resource_sampled", **sample),
        told(6, 2, **_named({"train/loss": 1.5, "train/acc": 1})),
    )
    assert list(found) == [
        *("loss", "acc", "deep.a.b", "eval_bleu", "train/loss", "train/acc", "eval/loss"),
        *("reward_seen/reward", "disk/home_free_bytes", "gpu/1/power_w", "memory/rss_bytes"),
    ]
    groups = listed(found.values())
    prefixes = [(group["prefix"], group["machine"]) for group in groups]
    assert prefixes == [
        *(("", False), ("train", False), ("eval", False), ("reward_seen", False)),
        *(("disk", True), ("gpu", True), ("memory", True)),
    ]
    assert groups[1]["metrics"][0]["label"] == "loss"
    assert found["gpu/1/power_w"].has_steps is False
    shown = series_of(found["memory/rss_bytes"], None, 100)[0]
    assert (shown["steps"], shown["times"]) == (None, [(NOW_NS + 4 * SECOND) // 10**6])


def test_the_part_that_a_later_attempt_makes_again_is_marked() -> None:
    first = [told(step, step, loss=float(step)) for step in range(10)]
    again = [told(100 + step, step, "b", loss=100.0 + step) for step in range(6, 12)]
    metric = of(*again, *first)["loss"]
    old, new = series_of(metric, None, 100)
    assert (old["attempt"], old["overwritten_from"], old["steps"]) == (1, 6, list(range(10)))
    assert (new["attempt"], new["overwritten_from"], new["steps"]) == (2, None, list(range(6, 12)))
    found = totals(metric)
    assert (found["last"], found["last_step"], found["count"]) == (111.0, 11, 16)
    assert (found["least"], found["greatest"]) == (0.0, 111.0)


def test_processes_at_one_time_are_one_attempt() -> None:
    events = [told(step, step, "ab"[step % 2], loss=float(step)) for step in range(10)]
    (only,) = series_of(of(*events)["loss"], None, 100)
    assert (only["steps"], only["overwritten_from"]) == (list(range(10)), None)


def test_more_than_a_few_processes_are_kept_together() -> None:
    events = [told(p * 10 + s, s, "0123456789abcdefg"[p], x=p) for p in range(17) for s in range(3)]
    (only,) = series_of(of(*events)["x"], None, 100)
    assert only["steps"] == [0, 0, 1, 1, 2, 2]


def test_a_value_that_is_not_finite_is_kept_with_its_step_and_counted() -> None:
    bad = [told(step, step, loss="NaN" if step % 2 else "-Infinity") for step in range(60, 260)]
    metric = of(told(1, 1, loss=3.0), *bad)["loss"]
    found = totals(metric)
    assert (found["not_finite"], found["first_not_finite_step"]) == (200, 60)
    assert (found["first_not_finite"], found["last"], found["count"]) == ("-Infinity", 3.0, 1)
    shown = series_of(metric, None, 100)[0]
    assert shown["not_finite"]["count"] == 200
    assert len(shown["not_finite"]["points"]) == 64
    assert shown["not_finite"]["points"][1] == {
        "step": 61,
        "time": NOW_NS // 10**6 + 61_000,
        "value": "NaN",
    }
    only_bad = totals(of(*bad)["loss"])
    assert (only_bad["last"], only_bad["least"], only_bad["not_finite"]) == (None, None, 200)


def test_an_overwritten_nan_is_no_nan_of_the_run() -> None:
    first = [told(5, 5, loss="NaN"), told(1, 1, loss=9.0)]
    again = [told(100 + step, step, "b", loss=1.0) for step in range(3, 8)]
    found = totals(of(*first, *again)["loss"])
    assert (found["not_finite"], found["first_not_finite_step"]) == (0, None)


def test_ranks_have_curves_of_their_own_and_the_lowest_is_shown() -> None:
    events = [told(1, 1, f"{rank:x}", rank, loss=float(rank)) for rank in (3, 1, 2)]
    metric = of(*events)["loss"]
    assert totals(metric)["ranks"] == [1, 2, 3]
    assert [each["rank"] for each in series_of(metric, None, 10)] == [1]
    assert [each["values"] for each in series_of(metric, 2, 10)] == [[2.0]]
    assert [each["rank"] for each in series_of(metric, "all", 10)] == [1, 2, 3]
    assert series_of(metric, 9, 10) == []


def test_a_series_has_no_more_points_than_asked_for_and_its_ends() -> None:
    events = [told(step, step, loss=(step * 7919) % 1009) for step in range(3_000)]
    metric = of(*events)["loss"]
    (shown,) = series_of(metric, None, 50)
    assert len(shown["steps"]) == len(shown["times"]) == len(shown["values"]) <= 50
    assert (shown["steps"][0], shown["steps"][-1]) == (0, 2_999)
    assert max(shown["values"]) == 1_008
    assert sorted(shown["steps"]) == shown["steps"]


def test_integers_stay_exact_and_a_name_that_is_not_there_is_left_out() -> None:
    metrics = list(of(told(1, 1, big=2**53 + 1, loss=1.0)).values())
    assert series_of(metrics[1], None, 10)[0]["values"] == [2**53 + 1]
    assert [m.name for m in wanted_metrics(metrics, ["nope", "big"])] == ["big"]
    assert [m.name for m in wanted_metrics(metrics, ["*"])] == ["loss", "big"]

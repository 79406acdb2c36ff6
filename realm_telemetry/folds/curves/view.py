"""Curves as readers see them: what there is to draw, and series that a graph can show."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from realm_telemetry.folds.curves.record import Curve, Key, RunCurves
from realm_telemetry.folds.curves.strand import Bucket, NotFinite, Number, Strand
from realm_telemetry.folds.measures import SAMPLED

MAX_SERIES: Final = 64
"""Names of one answer."""

_FIRST: Final = ("loss", "eval/loss", "eval_loss", "accuracy", "learning_rate", "grad_norm")
_GROUPS_FIRST: Final = ("", "train", "eval")
_MS: Final = 1_000_000


class Wanted(NamedTuple):
    """Which series are to be had. rank: a rank, "all", or None for the lowest."""

    names: Sequence[str]
    points: int
    rank: int | str | None = None


class Attempt(NamedTuple):
    """The values of one attempt, oldest first.

    overwritten_from: the step from which a later attempt has made them again; None for never.
    """

    strand: Strand
    overwritten_from: int | None


class Metric(NamedTuple):
    """One name of a run with its curves by rank, the lowest first (None for no rank)."""

    name: str
    has_steps: bool
    curves: dict[int | None, Curve]

    @property
    def lead(self) -> Curve:
        """The curve of the lowest rank."""
        return next(iter(self.curves.values()))

    @property
    def is_machine(self) -> bool:
        """Whether it was sampled of the machine."""
        return self.lead.kind == SAMPLED

    @property
    def prefix(self) -> str:
        """What stands before the first slash; empty for none."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def place(self) -> tuple[Any, ...]:
        """Where it is drawn: loss first, the machine last."""
        prefix = self.prefix
        known = prefix in _GROUPS_FIRST
        group = (self.is_machine, _GROUPS_FIRST.index(prefix) if known else 3, prefix)
        is_loss = self.name.rpartition("/")[2] == "loss"
        first = _FIRST.index(self.name) if self.name in _FIRST else 9
        return (*group, first, not is_loss, self.name)


def metrics_of(curves: RunCurves) -> list[Metric]:
    """Return what a run measures, in the order to draw."""
    found: dict[str, Metric] = {}
    # By steps first: a name that has both is drawn over its steps.
    for key, curve in sorted(curves.curves(), key=_by_steps):
        metric = found.setdefault(key.name, Metric(key.name, key.has_steps, {}))
        if metric.has_steps == key.has_steps:
            metric.curves[None if key.rank < 0 else key.rank] = curve
    return sorted(found.values(), key=lambda metric: metric.place)


def _by_steps(item: tuple[Key, Curve]) -> tuple[bool, int]:
    return not item[0].has_steps, item[0].rank


def listed(metrics: Iterable[Metric]) -> list[dict[str, Any]]:
    """Return metrics by their prefix, each with its last, least and greatest value."""
    groups: dict[tuple[bool, str], list[dict[str, Any]]] = {}
    for metric in metrics:
        shown = {"name": metric.name, "label": label(metric), "axis": axis(metric)}
        groups.setdefault((metric.is_machine, metric.prefix), []).append(shown | totals(metric))
    return [
        {"prefix": prefix, "machine": is_machine, "metrics": members}
        for (is_machine, prefix), members in groups.items()
    ]


def label(metric: Metric) -> str:
    """Return the name without its prefix."""
    return metric.name.partition("/")[2] if metric.prefix else metric.name


def axis(metric: Metric) -> str:
    """Return what its points are placed by."""
    return "step" if metric.has_steps else "time"


def totals(metric: Metric) -> dict[str, Any]:
    """Return what a metric adds up to, of its lowest rank."""
    kept = [part for part in attempts_of(metric.lead, metric.has_steps) if part.strand.buckets]
    values = [pair for attempt in kept for bucket in _buckets(attempt) for pair in bucket]
    last = kept[-1].strand.read()[-1] if kept else None
    bad = [p for each in attempts_of(metric.lead, metric.has_steps) for p in _not_finite(each)]
    first_bad = min(bad, default=None)
    return {
        "kind": metric.lead.kind,
        "ranks": [rank for rank in metric.curves if rank is not None],
        "count": sum(b.points for each in kept for b in each.strand.buckets.values()),
        "last": None if last is None else last.last,
        "last_step": last.last_place if last is not None and metric.has_steps else None,
        "last_ms": None if last is None else last.ended_ns // _MS,
        "least": min((value for _, value in values), default=None),
        "greatest": max((value for _, value in values), default=None),
        "not_finite": sum(map(_not_finite_count, attempts_of(metric.lead, metric.has_steps))),
        "first_not_finite_step": first_bad.place if first_bad and metric.has_steps else None,
        "first_not_finite": None if first_bad is None else first_bad.value,
    }


def _buckets(attempt: Attempt) -> Iterable[list[tuple[int, Number]]]:
    """Yield the ends of each bucket that no later attempt has overwritten."""
    limit = attempt.overwritten_from
    for bucket in attempt.strand.buckets.values():
        if limit is None or bucket.first_place < limit:
            ends = [(bucket.least_place, bucket.least), (bucket.greatest_place, bucket.greatest)]
            kept = [pair for pair in ends if limit is None or pair[0] < limit]
            yield kept or [(bucket.first_place, bucket.first)]


def _not_finite(attempt: Attempt) -> list[NotFinite]:
    limit = attempt.overwritten_from
    return [p for p in attempt.strand.not_finite if limit is None or p.place < limit]


def _not_finite_count(attempt: Attempt) -> int:
    if attempt.overwritten_from is None:
        return attempt.strand.not_finite_count
    return len(_not_finite(attempt))


def attempts_of(curve: Curve, has_steps: bool) -> list[Attempt]:
    """Return the attempts of a curve, oldest first.

    Processes whose times overlap are of one attempt. One that began after all others of an attempt
    were silent has resumed it, and made again what lies behind its first step.
    """
    strands = [strand for strand in curve.strands.values() if strand.buckets or strand.not_finite]
    spans = sorted(((*_span(strand), strand) for strand in strands), key=lambda span: span[:2])
    joined: list[tuple[int, Strand]] = []
    for begun, ended, strand in spans:
        if joined and begun <= joined[-1][0]:
            together = joined[-1][1].copy()
            together.merge(strand)
            joined[-1] = (max(joined[-1][0], ended), together)
        else:
            joined.append((ended, strand))
    found: list[Attempt] = []
    again: int | None = None
    for _, strand in reversed(joined):
        lowest, highest = _places(strand)
        is_overwritten = has_steps and again is not None and again <= highest
        found.append(Attempt(strand, again if is_overwritten else None))
        again = lowest if again is None else min(again, lowest)
    return found[::-1]


def _span(strand: Strand) -> tuple[int, int]:
    times = [point.time_ns for point in strand.not_finite]
    begun = [bucket.begun_ns for bucket in strand.buckets.values()]
    ended = [bucket.ended_ns for bucket in strand.buckets.values()]
    return min(begun + times), max(ended + times)


def _places(strand: Strand) -> tuple[int, int]:
    places = [point.place for point in strand.not_finite]
    first = [bucket.first_place for bucket in strand.buckets.values()]
    last = [bucket.last_place for bucket in strand.buckets.values()]
    return min(first + places), max(last + places)


def wanted_metrics(metrics: Sequence[Metric], names: Sequence[str]) -> list[Metric]:
    """Return the metrics of some names, or the first ones for `*`, in the order to draw."""
    if "*" in names:
        return list(metrics[:MAX_SERIES])
    return [metric for metric in metrics if metric.name in names]


def wanted_series(metrics: Sequence[Metric], wanted: Wanted) -> list[dict[str, Any]]:
    """Return the series of some names, one for each attempt of each wanted rank."""
    return [
        each
        for metric in wanted_metrics(metrics, wanted.names)
        for each in series_of(metric, wanted.rank, wanted.points)
    ]


def series_of(metric: Metric, rank: int | str | None, points: int) -> list[dict[str, Any]]:
    """Return a metric's series, one for each attempt of each wanted rank.

    rank: a rank; "all" for all of them; None for the lowest. points: at most so many of each.
    """
    ranks = list(metric.curves)
    wanted = (
        ranks if rank == "all" else ranks[:1] if rank is None else [r for r in ranks if r == rank]
    )
    return [
        _series(metric, each, number, attempt, points)
        for each in wanted
        for number, attempt in enumerate(attempts_of(metric.curves[each], metric.has_steps), 1)
    ]


def _series(
    metric: Metric, rank: int | None, number: int, attempt: Attempt, points: int
) -> dict[str, Any]:
    strand = attempt.strand.copy()
    # Two points of each bucket, and the first and the last value.
    strand.limit(max((points - 2) // 2, 1))
    found = thinned(strand.read(), by_time=not metric.has_steps)
    bad = [
        {
            "step": point.place if metric.has_steps else None,
            "time": point.time_ns // _MS,
            "value": point.value,
        }
        for point in strand.not_finite
    ]
    return {
        "name": metric.name,
        "rank": rank,
        "axis": axis(metric),
        "attempt": number,
        "overwritten_from": attempt.overwritten_from,
        "steps": [place for place, _, _ in found] if metric.has_steps else None,
        "times": [time_ns // _MS for _, time_ns, _ in found],
        "values": [value for _, _, value in found],
        "not_finite": {"count": strand.not_finite_count, "points": bad},
    }


Point = tuple[int, int, Number]
"""(place, time in nanoseconds, value)."""


def thinned(buckets: Sequence[Bucket], *, by_time: bool) -> list[Point]:
    """Return the least and the greatest value of each bucket, and the first and last of all."""
    found: list[Point] = []
    for bucket in buckets:
        ends = {(bucket.least_place, bucket.least), (bucket.greatest_place, bucket.greatest)}
        # The exact ones, so that a line begins and ends where the run did.
        if bucket is buckets[0]:
            ends.add((bucket.first_place, bucket.first))
        if bucket is buckets[-1]:
            ends.add((bucket.last_place, bucket.last))
        found += [(place, _time(bucket, place), value) for place, value in sorted(ends)]
    # A clock that went back has lowered times; places by time are as they were.
    return sorted(found, key=lambda point: point[1]) if by_time else found


def _time(bucket: Bucket, place: int) -> int:
    """Return about when a bucket was at a place."""
    width = bucket.last_place - bucket.first_place
    if not width:
        return bucket.ended_ns
    passed = bucket.ended_ns - bucket.begun_ns
    return bucket.begun_ns + passed * (place - bucket.first_place) // width

"""The table of instruments: which numbers of which events become metrics, and their names."""

import math
import re
from typing import Final, Literal

import msgspec

InstrumentKind = Literal["counter", "gauge", "histogram"]

FIELDS: Final = ("kind", "channel", "severity", "hero_id", "campaign_id", "run_id", "source")
"""Fields of an event that an attribute can be; everything else is a detail."""

DURATION_BOUNDS: Final = (
    *(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0),
    *(60.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0),
)
"""Seconds: from an eval of a few milliseconds to a day of training."""


FRESH_NS: Final = 3_600_000_000_000
"""A gauge whose last event is older is no longer shown, and gives its place to a new one."""


class Attribute(msgspec.Struct, frozen=True, array_like=True):
    """An attribute of a metric's points.

    source: one of FIELDS, or the name of a detail.
    """

    name: str
    source: str


class Instrument(msgspec.Struct, frozen=True):
    """A metric that events make.

    kinds: of the events that count; empty for all. detail: the number in them; None counts events.
    bounds: upper bounds of a histogram's buckets, ascending, without infinity.
    """

    name: str
    kind: InstrumentKind
    description: str
    unit: str = ""
    kinds: tuple[str, ...] = ()
    detail: str | None = None
    attributes: tuple[Attribute, ...] = ()
    bounds: tuple[float, ...] = ()

    def takes(self, value: float) -> bool:
        """Whether a value can be added: the sum of a histogram has to grow, and be a number."""
        return self.kind != "histogram" or 0 <= value < math.inf

    @property
    def shown_as(self) -> InstrumentKind:
        """Its type on /metrics."""
        return self.kind

    @property
    def fresh_ns(self) -> int:
        """How old the last event of a gauge may be that is still shown."""
        return FRESH_NS


RUN: Final = (Attribute("realm.run.id", "run_id"), Attribute("realm.hero.id", "hero_id"))
OUTCOME: Final = Attribute("realm.kind", "kind")
SKILL: Final = Attribute("realm.eval.skill", "skill")
LEVEL: Final = Attribute("realm.eval.level", "level")
JOB_TYPE: Final = Attribute("realm.job.type", "job_type")

_STEPS: Final = ("training_step",)

INSTRUMENTS: Final = (
    Instrument(
        "realm.events",
        "counter",
        "Events that the log has stored.",
        unit="{event}",
        attributes=(
            Attribute("realm.channel", "channel"),
            OUTCOME,
            Attribute("realm.severity", "severity"),
        ),
    ),
    Instrument(
        "realm.training.loss", "gauge", "Loss of the last training step.", "", _STEPS, "loss", RUN
    ),
    Instrument(
        "realm.training.learning_rate",
        "gauge",
        "Learning rate of the last training step or change of it.",
        "",
        (*_STEPS, "lr_changed"),
        "learning_rate",
        RUN,
    ),
    Instrument(
        "realm.training.throughput",
        "gauge",
        "Tokens per second of the last training step.",
        "{token}/s",
        _STEPS,
        "tokens_per_second",
        RUN,
    ),
    Instrument(
        "realm.training.step",
        "gauge",
        "Number of the last training step.",
        "{step}",
        _STEPS,
        "step",
        RUN,
    ),
    Instrument(
        "realm.training.total_steps",
        "gauge",
        "Steps that the run is to take.",
        "{step}",
        ("training_started", *_STEPS),
        "total_steps",
        RUN,
    ),
    Instrument(
        "realm.eval.accuracy",
        "gauge",
        "Accuracy of the last eval, a fraction of 1.",
        "",
        ("eval_completed",),
        "accuracy",
        (SKILL, LEVEL, *RUN),
    ),
    Instrument(
        "realm.job.duration",
        "histogram",
        "How long jobs took.",
        "s",
        ("job_completed", "job_failed", "job_cancelled"),
        "duration_s",
        (JOB_TYPE, OUTCOME),
        DURATION_BOUNDS,
    ),
    Instrument(
        "realm.eval.duration",
        "histogram",
        "How long evals took.",
        "s",
        ("eval_completed", "eval_failed", "eval_cancelled"),
        "duration_s",
        (SKILL, OUTCOME),
        DURATION_BOUNDS,
    ),
    Instrument(
        "realm.training.duration",
        "histogram",
        "How long training runs took.",
        "s",
        ("training_completed", "training_failed", "training_cancelled"),
        "duration_s",
        (OUTCOME,),
        DURATION_BOUNDS,
    ),
    Instrument(
        "realm.checkpoint.duration",
        "histogram",
        "How long saving a checkpoint took.",
        "s",
        ("checkpoint_saved",),
        "duration_s",
        (),
        DURATION_BOUNDS,
    ),
)
"""The metrics that there are without a setting; options add to them."""


# Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
_UNITS: Final = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "W": "watts",
    "J": "joules",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_OTHER: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_LABELS: Final = re.compile(r"[^a-zA-Z0-9]+")
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")


def prometheus_name(instrument: Instrument) -> str:
    """A metric's name on /metrics: `realm.job.duration` in s is realm_job_duration_seconds."""
    name = _OTHER.sub("_", instrument.name)
    # Source: the specification, "1" of gauges; the collector and Prometheus' receiver follow it.
    is_ratio = instrument.unit == "1" and instrument.kind == "gauge"
    unit = "ratio" if is_ratio else _unit(instrument.unit)
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return f"{name}_total" if instrument.shown_as == "counter" else name


def label_name(attribute: str) -> str:
    """A label's name on /metrics: `realm.run.id` is realm_run_id."""
    return _NOT_IN_LABELS.sub("_", attribute)


def _unit(unit: str) -> str:
    top, _, bottom = _ANNOTATION.sub("", unit).partition("/")
    words = _UNITS.get(top, "" if top == "1" else _OTHER.sub("_", top).strip("_"))
    if not bottom:
        return words
    per = f"per_{_PER.get(bottom, _OTHER.sub('_', bottom).strip('_'))}"
    return f"{words}_{per}" if words else per

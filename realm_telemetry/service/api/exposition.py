"""Metrics as Prometheus text.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

_WHOLE_BELOW: Final = 2**63
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One line. suffix: what a histogram's lines have after the name."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


class Metric(NamedTuple):
    """One metric. name: with `_total` where it is a counter."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def one(name: str, kind: str, text: str, value: float) -> Metric:
    """A metric of one number."""
    return Metric(name, kind, text, [Sample({}, value)])


def by(name: str, kind: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """A metric with one label."""
    return Metric(name, kind, text, [Sample({label: key}, values[key]) for key in values])


def exposition(metrics: Iterable[Metric]) -> str:
    """The text of all of them; one without samples is left out."""
    return "".join(_lines(metric) for metric in metrics)


def _lines(metric: Metric) -> str:
    lines = "".join(
        f"{metric.name}{sample.suffix}{_labels(sample.labels)} {_number(sample.value)}\n"
        for sample in metric.samples
    )
    head = f"# HELP {metric.name} {_help(metric.help)}\n# TYPE {metric.name} {metric.kind}\n"
    return head + lines if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return _help(value).replace('"', r"\"")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    # Whole, or as many digits as it takes: a rounded counter of ten thousand million stands still.
    whole = abs(value) < _WHOLE_BELOW and value == int(value)
    return str(int(value)) if whole else repr(float(value))

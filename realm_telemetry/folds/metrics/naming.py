"""OpenTelemetry's names as Prometheus has them.

Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

import re
from typing import Final

from realm_telemetry.folds.metrics.instruments import Instrument

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
    """A metric's name: `realm.job.duration` in s is realm_job_duration_seconds."""
    name = _OTHER.sub("_", instrument.name)
    unit = _unit(instrument.unit)
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return f"{name}_total" if instrument.kind == "counter" else name


def label_name(attribute: str) -> str:
    """A label's name: `realm.run.id` is realm_run_id."""
    return _NOT_IN_LABELS.sub("_", attribute)


def _unit(unit: str) -> str:
    top, _, bottom = _ANNOTATION.sub("", unit).partition("/")
    words = _UNITS.get(top, "" if top == "1" else _OTHER.sub("_", top).strip("_"))
    if not bottom:
        return words
    per = f"per_{_PER.get(bottom, _OTHER.sub('_', bottom).strip('_'))}"
    return f"{words}_{per}" if words else per

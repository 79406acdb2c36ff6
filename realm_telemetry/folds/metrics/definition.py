"""Instruments of the user's own: `[options.otlp_metrics]` in realm.toml."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.folds.metrics.instruments import (
    DURATION_BOUNDS,
    INSTRUMENTS,
    RUN,
    Attribute,
    Instrument,
    InstrumentKind,
    label_name,
    prometheus_name,
)
from realm_telemetry.folds.metrics.machine import MACHINE
from realm_telemetry.folds.metrics.series import MAX_SERIES

BUILT_IN: Final = (*INSTRUMENTS, *MACHINE)
"""The metrics that there are without a setting."""

SETTING: Final = "options.otlp_metrics"
OPTIONS: Final[Mapping[str, Any]] = {"gauges": [], "histograms": [], "max_series": MAX_SERIES}
"""The options that define metrics, and their defaults."""

MOST_SERIES: Final = 100_000
RESERVED: Final = (
    *("realm_log_", "realm_ingest_", "realm_commits_", "realm_http_", "realm_sse_", "realm_tail_"),
    *("realm_state_", "realm_measures_", "realm_uptime_", "realm_producer", "realm_receipt"),
    *("realm_exporter_", "realm_webhook_", "realm_dead_", "target_info"),
    *("realm_runs", "realm_run_step"),
)
"""How names of the service's own metrics begin on /metrics."""

_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_.]{0,254}")
_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9_.]+")
_UNITS: Final = {"_s": "s", "_ms": "ms", "_bytes": "By"}


class Definition(msgspec.Struct, frozen=True):
    """The metrics, and how many series each may have, the overflow series included."""

    instruments: tuple[Instrument, ...] = BUILT_IN
    max_series: int = MAX_SERIES


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str | list[str]
    detail: str
    name: str | None = None
    unit: str | None = None
    description: str | None = None
    attributes: list[str] = []
    bounds: list[float] = []


def read_definition(options: Mapping[str, Any]) -> Definition:
    """The built-in instruments and those that options add.

    options: of the exporter `otlp_metrics`; other keys than those of OPTIONS are not looked at.
    Raises ConfigError that names the option.
    """
    max_series = options.get("max_series", MAX_SERIES)
    if not isinstance(max_series, int) or not 2 <= max_series <= MOST_SERIES:
        raise ConfigError(
            f"{SETTING}.max_series",
            f"must be 2 to {MOST_SERIES}, got {max_series!r}",
            f"Write a whole number; {MAX_SERIES} is the default.",
        )
    added = [
        *_added("gauge", options.get("gauges", [])),
        *_added("histogram", options.get("histograms", [])),
    ]
    _check_names(added)
    return Definition((*BUILT_IN, *added), max_series)


def _added(kind: InstrumentKind, tables: Any) -> Iterable[Instrument]:
    setting = f"{SETTING}.{kind}s"
    try:
        wanted = msgspec.convert(tables, list[_Wanted])
    except msgspec.ValidationError as error:
        raise ConfigError(
            setting, str(error), "Each is a table with `kind` and `detail`: docs/metrics.md."
        ) from None
    for each in wanted:
        yield _instrument(kind, each, setting)


def _instrument(kind: InstrumentKind, wanted: _Wanted, setting: str) -> Instrument:
    kinds = (wanted.kind,) if isinstance(wanted.kind, str) else tuple(wanted.kind)
    if not kinds:
        raise ConfigError(setting, "`kind` names no kind", "Name the kinds that have the detail.")
    if wanted.bounds and (kind == "gauge" or sorted(set(wanted.bounds)) != wanted.bounds):
        raise ConfigError(
            f"{setting}.bounds", "must ascend, and only histograms have them", "Mend them."
        )
    stem, unit = _stem_and_unit(wanted.detail)
    bounds = tuple(wanted.bounds) or (DURATION_BOUNDS if kind == "histogram" else ())
    return Instrument(
        name=wanted.name or f"realm.{kinds[0]}.{_NOT_IN_NAME.sub('_', stem)}",
        kind=kind,
        description=wanted.description or f"{wanted.detail} of {', '.join(kinds)}.",
        unit=unit if wanted.unit is None else wanted.unit,
        kinds=kinds,
        detail=wanted.detail,
        attributes=_attributes(kind, wanted.attributes),
        bounds=bounds,
    )


def _stem_and_unit(detail: str) -> tuple[str, str]:
    """A detail's name apart from its unit: names of metrics have none in OpenTelemetry."""
    for ending, unit in _UNITS.items():
        if detail.endswith(ending) and len(detail) > len(ending):
            return detail.removesuffix(ending), unit
    return detail, ""


def _attributes(kind: InstrumentKind, details: Sequence[str]) -> tuple[Attribute, ...]:
    own = tuple(Attribute(f"realm.details.{name}", name) for name in details)
    return (*own, *RUN) if kind == "gauge" else own


def _check_names(added: Sequence[Instrument]) -> None:
    taken = {name for each in BUILT_IN for name in (each.name, prometheus_name(each))}
    for each in added:
        name = prometheus_name(each)
        if not _NAME.fullmatch(each.name):
            raise ConfigError(
                f"{SETTING}: {each.name!r}",
                "is no name of a metric",
                "Letters, digits, _ and dots.",
            )
        if {name, each.name} & taken or name.startswith(RESERVED):
            raise ConfigError(
                f"{SETTING}: {each.name!r}", f"there is a metric {name} already", "Set `name`."
            )
        taken |= {name, each.name}
        labels = [label_name(attribute.name) for attribute in each.attributes]
        if len(set(labels)) < len(labels):
            raise ConfigError(
                f"{SETTING}: {each.name!r}", "two attributes have one name", "Leave one out."
            )

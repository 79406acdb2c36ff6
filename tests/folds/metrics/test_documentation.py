"""docs/metrics.md is true."""

import re
from pathlib import Path

from realm_exporter_otlp.metrics import OtlpMetricsExporter
from realm_exporter_otlp.transport import TRANSPORT_DEFAULTS

from realm_telemetry.folds.metrics import INSTRUMENTS, MACHINE, MAX_SERIES, SAMPLE_FRESH_NS
from realm_telemetry.folds.metrics.definition import OPTIONS, RESERVED, _Wanted
from realm_telemetry.folds.metrics.instruments import prometheus_name
from realm_telemetry.folds.metrics.machine import READINGS

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "metrics.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in TEXT.split("\n## ")[1:]}


def rows(text: str) -> list[list[str]]:
    """The cells of each row that begins with a name."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_metrics_is_the_table_of_instruments() -> None:
    """Names, sorts, kinds, details and attributes, in their order."""
    table = rows(TEXT.split("\n## ")[0])
    assert len(table) == len(INSTRUMENTS)
    for row, each in zip(table, INSTRUMENTS, strict=True):
        assert names(row[0]) == [each.name]
        assert names(row[1]) == [prometheus_name(each)]
        assert row[2] == each.kind
        made_of = [*each.kinds, each.detail] if each.detail else []
        assert names(row[3]) == made_of
        assert names(row[4]) == [attribute.name for attribute in each.attributes]


def test_the_table_of_the_machine_is_that_of_its_instruments() -> None:
    """Names, instruments and attributes; each value of an attribute is named below the table."""
    text = SECTIONS["The machine"]
    table = rows(text)
    assert len(table) == len(MACHINE)
    for row, each in zip(table, MACHINE, strict=True):
        assert names(row[0]) == [each.name]
        assert names(row[1]) == [prometheus_name(each)]
        assert row[2] == each.sort.replace("up_down_", "up-down ")
        assert names(row[4]) == [attribute.name for attribute in each.attributes]
    values = next(line for line in text.splitlines() if line.startswith("Values: "))
    for part in READINGS.values():
        assert all(value in values for reading in part for value in reading.fixed)
    assert f"over {SAMPLE_FRESH_NS // 10**9} s old" in text


def test_details_of_a_sample_are_documented_where_they_are_read() -> None:
    """Every detail that a reading names is one of docs/semantic-conventions.md."""
    conventions = DOCS / "semantic-conventions.md"
    sample = conventions.read_text(encoding="utf-8").split("### Details of a sample")[1]
    documented = set(names(sample.split("\n### ")[0]))
    made_of = {name for row in rows(SECTIONS["The machine"]) for name in names(row[3])}
    assert made_of <= documented


def test_options_and_their_defaults_are_documented() -> None:
    """Those of the exporter, and the keys of a metric of one's own."""
    exporter = SECTIONS["The exporter `otlp_metrics`"]
    documented = {name for row in rows(exporter) for name in names(row[0])}
    own = OtlpMetricsExporter.defaults.keys() - TRANSPORT_DEFAULTS.keys()
    assert documented == own >= OPTIONS.keys()
    assert set(names(exporter)) >= TRANSPORT_DEFAULTS.keys()
    keys = {name for row in rows(SECTIONS["Metrics of your own"]) for name in names(row[0])}
    assert keys == set(_Wanted.__struct_fields__)
    assert f"at most {MAX_SERIES} series" in SECTIONS["How many series"]


def test_the_services_own_metrics_begin_as_is_reserved() -> None:
    """tests/service compares the reserved names with what /metrics shows."""
    own = [
        name for row in rows(SECTIONS["Receipts, and the service itself"]) for name in names(row[0])
    ]
    assert len(own) > 15
    assert all(name.startswith(RESERVED) for name in own)

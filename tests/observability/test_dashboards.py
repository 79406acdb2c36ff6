"""Every name in the dashboards is one that is really sent."""

import re
from pathlib import Path
from typing import Any

import pytest
from realm_exporter_otlp.traces.spans import Span

from realm_telemetry.event import CHANNELS, SEVERITIES
from realm_telemetry.kinds.catalog import KIND_METADATA

from .conftest import DASHBOARDS, STACK, dashboard, panels, read
from .promql import legend_labels, names_in

VALUES = {
    "realm_kind": set(KIND_METADATA),
    "realm_channel": set(CHANNELS),
    "realm_severity": set(SEVERITIES),
    "otel_metric_overflow": {"true"},
    "outcome": {"emitted", "stored", "stored_so_far", "dropped"},
}
LOKI_FILTER = re.compile(r'\|\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*')
LOKI_SELECTOR = re.compile(r'\{(\w+)=~"\.\+"\}\s*')
LOKI_REST = re.compile(r'(\|\s*line_format\s+"[^"]*"\s*)?(\[\d+m\]\s*)?\)*')
TEMPO_ATTRIBUTE = re.compile(r"\b(span|resource)\.([\w.]+)")

DATASOURCES = {
    each["uid"]: each for each in read("grafana/provisioning/datasources/realm.yaml")["datasources"]
}

QUERIES = [
    pytest.param(panel, target, id=f"{name}-{panel['title']}-{target['refId']}")
    for name, panel in panels()
    for target in panel["targets"]
]


def queries_of(datasource: str) -> list[Any]:
    found: list[Any] = list(QUERIES)
    return [each for each in found if each.values[1]["datasource"]["type"] == datasource]


PROMETHEUS = queries_of("prometheus")
LOKI = queries_of("loki")
TEMPO = queries_of("tempo")


def check_values(label: str, value: str) -> None:
    """What a query looks for exists; a variable's value is whatever there is."""
    if label in VALUES and not value.startswith("$"):
        assert set(value.split("|")) <= VALUES[label], f"{label}={value}"


@pytest.mark.parametrize(("panel", "target"), PROMETHEUS)
def test_metrics_and_labels_of_a_query_are_those_of_the_service(
    panel: dict[str, Any], target: dict[str, Any], metrics: dict[str, set[str]]
) -> None:
    """Parsed as PromQL, compared with what a real service shows."""
    names = names_in(target["expr"])
    assert names.selectors
    labels: set[str] = set()
    for metric, matchers in names.selectors:
        assert metric in metrics, metric
        assert {label for label, _ in matchers} <= metrics[metric], metric
        labels |= metrics[metric]
        for label, value in matchers:
            check_values(label, value)
    assert names.labels <= labels
    assert legend_labels(target.get("legendFormat", "")) <= labels


def test_queries_in_the_page_are_those_of_the_service(metrics: dict[str, set[str]]) -> None:
    page = (STACK.parents[1] / "docs" / "observability.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```promql\n(.*?)^```$", page, re.M | re.S)
    for line in text.splitlines():
        names = names_in(line)
        for metric, matchers in names.selectors:
            assert metric in metrics
            assert {label for label, _ in matchers} | names.labels <= metrics[metric]


def check_logql(expression: str, metadata: set[str]) -> None:
    """Every part of it is understood here, and every name in it is a record's."""
    inner = re.sub(r"^sum by \((\w+)\) \(count_over_time\(", "", expression)
    grouped = re.match(r"^sum by \((\w+)\)", expression)
    assert grouped is None or grouped[1] in metadata
    selector = LOKI_SELECTOR.match(inner)
    assert selector, expression
    assert selector[1] == "service_name"
    position = selector.end()
    while found := LOKI_FILTER.match(inner, position):
        assert found[1] in metadata, found[1]
        check_values(found[1], found[3])
        position = found.end()
    rest = inner[position:]
    assert LOKI_REST.fullmatch(rest), rest
    assert set(re.findall(r"\{\{\.(\w+)\}\}", rest)) <= metadata


@pytest.mark.parametrize(("panel", "target"), LOKI)
def test_names_in_log_queries_are_attributes_of_real_log_records(
    panel: dict[str, Any], target: dict[str, Any], metadata: set[str]
) -> None:
    """Loki writes underscores for dots."""
    check_logql(target["expr"], metadata)
    assert legend_labels(target.get("legendFormat", "")) <= metadata


def check_traceql(query: str, spans: list[Span]) -> None:
    """The attributes are a span's, and so are the first words of the names."""
    attributes = {name for span in spans for name in span.attributes}
    for scope, attribute in TEMPO_ATTRIBUTE.findall(query):
        assert scope == "span"
        assert attribute in attributes
    for value in re.findall(r'name\s*=~?\s*"(\w+)', query):
        assert value in {span.name.split()[0] for span in spans}, value
    without = TEMPO_ATTRIBUTE.sub("", re.sub(r'"[^"]*"', "", query))
    assert set(re.findall(r"[a-z]+", without)) <= {"name", "status", "error", "select"}


@pytest.mark.parametrize(("panel", "target"), TEMPO)
def test_names_in_trace_queries_are_those_of_spans(
    panel: dict[str, Any], target: dict[str, Any], spans: list[Span]
) -> None:
    """Made of a training and a job, as the exporter of traces makes them."""
    assert target["queryType"] == "traceql"
    check_traceql(target["query"], spans)


def test_links_between_logs_and_traces_name_real_attributes(
    spans: list[Span], metadata: set[str]
) -> None:
    """From a record to the traces of its run, and from a span to its run's records."""
    fields = {each["name"]: each for each in DATASOURCES["realm-loki"]["jsonData"]["derivedFields"]}
    # Loki's own names for the fields of a record beside its attributes.
    own = {"trace_id", "span_id"}
    for field in fields.values():
        assert field["matcherType"] == "label"
        assert field["matcherRegex"] in metadata | own
        assert field["datasourceUid"] in DATASOURCES
    query = fields["Traces of the run"]["url"]
    check_traceql(query.replace("$${__value.raw}", ""), spans)
    for uid in ("realm-tempo", "realm-jaeger"):
        link = DATASOURCES[uid]["jsonData"]["tracesToLogsV2"]
        assert link["datasourceUid"] == "realm-loki"
        (tag,) = re.findall(r'__span\.tags\["([\w.]+)"\]', link["query"])
        assert all(tag in span.attributes for span in spans)
        check_logql(re.sub(r"\$\$\{[^}]*\}", "", link["query"]), metadata)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_has_the_shape_that_grafana_reads(path: Path) -> None:
    """Unique panels that do not overlap, known data sources, a legible grid."""
    shape = dashboard(path)
    assert {"uid", "title", "schemaVersion", "panels", "time", "templating"} <= shape.keys()
    assert shape["uid"] == f"realm-{path.stem}"
    assert len({panel["id"] for panel in shape["panels"]}) == len(shape["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in shape["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            check_targets(panel)


def check_targets(panel: dict[str, Any]) -> None:
    """A panel asks something, and of a data source that there is."""
    assert panel["targets"]
    for each in (panel, *panel["targets"]):
        source = each["datasource"]
        assert DATASOURCES[source["uid"]]["type"] == source["type"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_the_dashboard_of_training_has_a_row_of_the_machine() -> None:
    """Of each sort of what a sample has there is a panel below it."""
    panels = dashboard(DASHBOARDS[-1])["panels"]
    (row,) = (place for place, panel in enumerate(panels) if panel["type"] == "row")
    asked = " ".join(target["expr"] for panel in panels[row + 1 :] for target in panel["targets"])
    for sort in ("system_cpu", "system_memory", "system_filesystem", "process_memory", "hw_gpu"):
        assert sort in asked


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_variables_are_defined_and_their_queries_true(
    path: Path, metrics: dict[str, set[str]], metadata: set[str]
) -> None:
    """`label_values(metric, label)`, and every $name in a query is one of them."""
    shape = dashboard(path)
    defined = {each["name"] for each in shape["templating"]["list"]}
    for variable in shape["templating"]["list"]:
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
        assert found
        assert found[2] in metrics[found[1]]
        assert variable["query"]["query"] == variable["definition"]
        assert variable["datasource"]["uid"] in DATASOURCES
    used = set(re.findall(r"\$(?!__)(\w+)", str(shape["panels"]) + str(shape["annotations"])))
    assert used == defined
    for annotation in shape["annotations"]["list"]:
        check_logql(annotation["expr"], metadata)
        assert annotation["datasource"]["uid"] in DATASOURCES


def test_there_is_a_dashboard_for_each_subject() -> None:
    """Training, jobs, events, receipts; the first of them is Grafana's home."""
    assert [path.stem for path in DASHBOARDS] == ["events", "jobs", "receipts", "training"]
    environment = read("compose.yaml")["services"]["grafana"]["environment"]
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    provider = read("grafana/provisioning/dashboards/realm.yaml")["providers"][0]
    assert home == f"{provider['options']['path']}/training.json"

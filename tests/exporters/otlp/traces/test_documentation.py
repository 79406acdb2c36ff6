"""docs/traces.md says what there is, and nothing has been forgotten there."""

from pathlib import Path

import pytest
from realm_exporter_otlp.traces import OtlpTracesExporter, fold, history, spans
from realm_exporter_otlp.traces.lifecycles import LIFECYCLES
from realm_exporter_otlp.traces.state import Limits

from realm_telemetry.otel import names

PAGE = (Path(__file__).parents[4] / "docs" / "traces.md").read_text()
ROWS = {line.split("|")[1].strip(): line for line in PAGE.splitlines() if line.startswith("| ")}


@pytest.mark.parametrize("name", LIFECYCLES)
def test_every_lifecycle_is_in_the_table_with_its_kinds(name: str) -> None:
    """And with what each end makes of the status."""
    lifecycle = LIFECYCLES[name]
    assert f"`{name}_started`" in ROWS[name]
    for word, status in lifecycle.ends.items():
        after = ROWS[name].partition(f"`{name}_{word}`")[2]
        assert after.lstrip(" and").startswith(status) or f"and `{name}_completed` ok" in after


@pytest.mark.parametrize(
    "reason", [fold.PROCESS_LOST, fold.RESTARTED, fold.SILENT, fold.TOO_MANY, fold.SHUTDOWN]
)
def test_every_rule_that_closes_a_span_is_documented(reason: str) -> None:
    """By the word that the span has."""
    assert sum(f"| `{reason}` |" in line for line in ROWS.values()) == 1


@pytest.mark.parametrize(
    "bound",
    [
        Limits().open_spans,
        Limits().span_events,
        Limits().all_span_events,
        Limits().runs,
        Limits().ended,
        history.MAX_ROWS,
        spans.MAX_ATTRIBUTES,
        spans.MAX_EVENT_DETAILS,
        spans.MAX_EVENT_TEXT,
    ],
)
def test_every_bound_is_documented(bound: int) -> None:
    """Where memory or work ends."""
    assert f"{bound:,}" in PAGE


def test_every_attribute_and_option_is_documented() -> None:
    """Those that only spans have, and those of events."""
    own = (spans.LIFECYCLE, spans.BEGAN, spans.ENDED, spans.START_EVENT, spans.END_EVENT)
    shared = (spans.MESSAGE, names.UID, names.CHANNEL, names.SEVERITY, names.RUN, names.HERO)
    for name in (*own, *shared, names.CAMPAIGN, names.SOURCE, *OtlpTracesExporter.defaults):
        assert f"`{name}`" in PAGE, name

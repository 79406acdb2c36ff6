"""Numbers and text as Prometheus reads them."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from realm_telemetry.service.api.exposition import Metric, Sample, exposition, one

NUMBERS = (0, 1, -1, 0.1, 1 / 3, 1e-300, 1e300, 10**10 + 1, 2**53, 2**63 - 1, 2**63, -(2**63))


@pytest.mark.parametrize("value", [*NUMBERS, math.inf, -math.inf])
def test_a_number_is_read_back_as_it_was(value: float) -> None:
    """A counter that is rounded seems to stand still."""
    (metric,) = text_string_to_metric_families(exposition([one("realm_x", "gauge", "X.", value)]))
    assert metric.samples[0].value == value


def test_a_value_that_is_no_number_is_read_as_such() -> None:
    """A loss may be one."""
    (metric,) = text_string_to_metric_families(exposition([one("realm_x", "gauge", "", math.nan)]))
    assert math.isnan(metric.samples[0].value)


@pytest.mark.parametrize("text", ['a "b"', "a\\b", "a\nb", "a\\nb", "日本 🏰", '{x="1"} 2', "#"])
def test_any_text_is_read_back_as_help_and_as_label(text: str) -> None:
    """Backslashes and line ends are escaped, quotes in labels only."""
    metric = Metric("realm_x", "gauge", text, [Sample({"a": text, "b": ""}, 1)])
    (read,) = text_string_to_metric_families(exposition([metric]))
    assert read.documentation == text
    assert read.samples[0].labels == {"a": text, "b": ""}


def test_a_metric_without_samples_is_left_out() -> None:
    """A head alone says nothing."""
    assert exposition([Metric("realm_x", "gauge", "X.", [])]) == ""

"""Names of metrics, and instruments that options add."""

from typing import Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry

from realm_telemetry.errors import ConfigError
from realm_telemetry.folds.metrics import INSTRUMENTS, Definition, Instrument, read_definition
from realm_telemetry.folds.metrics.instruments import label_name, prometheus_name

from .conftest import Made, folded, shown


def added(**options: Any) -> Instrument:
    return read_definition(options).instruments[-1]


def names_by_opentelemetry(instrument: Instrument) -> tuple[str, set[str]]:
    """The name and labels that OpenTelemetry's own exporter makes of an instrument."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(disable_target_info=True, registry=registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    meter = provider.get_meter("test")
    attributes = {each.name: "x" for each in instrument.attributes}
    given = (instrument.name, instrument.unit)
    if instrument.kind == "counter":
        meter.create_counter(*given).add(1, attributes)
    elif instrument.kind == "gauge":
        meter.create_gauge(*given).set(1.0, attributes)
    else:
        meter.create_histogram(*given).record(1.0, attributes)
    (metric,) = registry.collect()
    provider.shutdown()
    labels = {name for name in metric.samples[0].labels if not name.startswith("otel_scope")}
    return metric.name, labels - {"le"}


EXTRA = (
    Instrument("a.b_c", "gauge", "", "By"),
    Instrument("a.b", "histogram", "", "ms", bounds=(1.0,)),
    Instrument("a.b", "gauge", "", "{token}/s"),
    Instrument("a.b", "gauge", "", "By/s"),
    Instrument("a.b", "gauge", "", "%"),
    Instrument("a.b", "counter", "", "{thing}"),
    Instrument("a.seconds", "gauge", "", "s"),
)


@pytest.mark.parametrize("instrument", [*INSTRUMENTS, *EXTRA], ids=lambda each: each.name)
def test_names_are_those_that_opentelemetry_gives_prometheus(instrument: Instrument) -> None:
    """So that a dashboard made for a scrape fits what came over OTLP, and the other way round."""
    name, labels = names_by_opentelemetry(instrument)
    assert prometheus_name(instrument).removesuffix("_total") == name
    assert {label_name(each.name) for each in instrument.attributes} == labels


def test_the_names_people_know_are_there() -> None:
    """They are an interface: dashboards and alerts are written with them."""
    assert [prometheus_name(each) for each in INSTRUMENTS] == [
        "realm_events_total",
        "realm_training_loss",
        "realm_training_learning_rate",
        "realm_training_throughput_per_second",
        "realm_training_step",
        "realm_training_total_steps",
        "realm_eval_accuracy",
        "realm_job_duration_seconds",
        "realm_eval_duration_seconds",
        "realm_training_duration_seconds",
        "realm_checkpoint_duration_seconds",
    ]


def test_without_options_the_table_is_what_is_measured() -> None:
    """Options of the exporter that are none of this part's are not looked at."""
    assert read_definition({"interval_s": 5, "endpoint": "x"}) == Definition()


def test_a_gauge_of_ones_own_takes_name_and_unit_from_the_detail(make: Made) -> None:
    """The run and hero of the event come with it, further details on demand."""
    gauge = {"kind": "vault_sync", "detail": "size_bytes", "attributes": ["path"]}
    definition = read_definition({"gauges": [gauge]})
    made = definition.instruments[-1]
    assert (made.name, made.unit) == ("realm.vault_sync.size", "By")
    assert prometheus_name(made) == "realm_vault_sync_size_bytes"
    event = make("vault_sync", details={"size_bytes": 2048, "path": "/v"}, run_id="r1")
    assert list(shown(folded([event], definition)[made.name])) == [
        ({"realm.details.path": "/v", "realm.run.id": "r1"}, 2048.0)
    ]


def test_a_histogram_of_ones_own_may_name_all(make: Made) -> None:
    """Several kinds, a name, a unit, a description, bounds."""
    made = added(
        histograms=[
            {
                "kind": ["forge_batch_ready", "dataset_generated"],
                "detail": "examples",
                "name": "lab.examples",
                "unit": "{example}",
                "description": "Examples made.",
                "bounds": [10, 100],
            }
        ]
    )
    assert (made.name, made.unit, made.bounds) == ("lab.examples", "{example}", (10.0, 100.0))
    assert made.description == "Examples made."
    assert made.kinds == ("forge_batch_ready", "dataset_generated")


GAUGE = {"kind": "training_step", "detail": "norm"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gauges": "loss"}, "options.otlp_metrics.gauges"),
        ({"gauges": [{"kind": "training_step"}]}, "detail"),
        ({"gauges": [GAUGE | {"unti": "s"}]}, "unti"),
        ({"gauges": [GAUGE | {"kind": []}]}, "names no kind"),
        ({"gauges": [GAUGE | {"bounds": [1]}]}, "bounds"),
        ({"histograms": [GAUGE | {"bounds": [2, 1]}]}, "bounds"),
        ({"histograms": [GAUGE | {"bounds": [1, 1]}]}, "bounds"),
        ({"gauges": [GAUGE | {"name": "realm.training.loss"}]}, "already"),
        ({"gauges": [GAUGE, GAUGE]}, "already"),
        ({"gauges": [GAUGE | {"name": "a", "unit": unit} for unit in "sW"]}, "already"),
        ({"gauges": [GAUGE | {"name": "realm.log.bytes"}]}, "already"),
        ({"gauges": [GAUGE | {"name": "9 lives"}]}, "no name"),
        ({"gauges": [GAUGE | {"attributes": ["a.b", "a_b"]}]}, "two attributes"),
        ({"max_series": 1}, "max_series"),
        ({"max_series": 100_001}, "max_series"),
        ({"max_series": True}, "max_series"),
    ],
)
def test_a_mistake_is_named_with_its_option(options: dict[str, Any], words: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match=words) as raised:
        read_definition(options)
    assert raised.value.setting.startswith("options.otlp_metrics")
    assert raised.value.fix


@pytest.mark.parametrize("max_series", [2, 100_000])
def test_limits_of_max_series_are_allowed(max_series: int) -> None:
    """The smallest is one series and the overflow."""
    assert read_definition({"max_series": max_series}).max_series == max_series

"""What the exporter sends, through whom, and where to."""

import math
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rotel
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from realm_exporter_otlp.metrics import DEFAULT_INTERVAL_S, OtlpMetricsExporter

from realm_telemetry.errors import ConfigError
from realm_telemetry.folds.metrics import INSTRUMENTS, MACHINE
from realm_telemetry.plugins import load_exporter
from realm_telemetry.shipper.manifest import exporter_environment
from realm_telemetry.testing import check_exporter
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import Collector, Lab, data_of, points_of


def sent(lab: Lab, *events: Any) -> None:
    lab.store(list(events))
    exporter = lab.exporter()
    exporter.export_events(events)
    exporter.shutdown()


def test_a_gauge_has_its_events_time_run_and_hero(lab: Lab, collector: Collector) -> None:
    """To the nanosecond, whenever it is sent."""
    step = lab.event(
        "training_step",
        run_id="r7",
        hero_id="dio",
        time_unix_nano=1_790_000_000_123_456_789,
        details={"step": 3, "loss": 0.25, "tokens_per_second": 1000},
    )
    sent(lab, step)
    points = collector.points()
    attributes = (("realm.run.id", "r7"), ("realm.hero.id", "dio"))
    for name, value in (("loss", 0.25), ("throughput", 1000.0), ("step", 3.0)):
        point = points[f"realm.training.{name}"][attributes]
        assert (point.as_double, point.time_unix_nano) == (value, step.time_unix_nano)
        assert point.start_time_unix_nano == 0


def test_only_gauges_that_moved_are_sent_again(lab: Lab, collector: Collector) -> None:
    """A late event moves none; a restart does not make them move."""
    now_ns = time.time_ns()
    for run, late_ns in (("a", 0), ("b", 0), ("a", 10**9), ("b", -1)):
        details = {"loss": 0.5, "step": 1}
        time_ns = now_ns - late_ns
        sent(lab, lab.event("training_step", run_id=run, time_unix_nano=time_ns, details=details))
    runs = [
        [attributes[0][1] for attributes in points_of(request).get("realm.training.loss", {})]
        for request in collector.requests
    ]
    assert runs == [["a"], ["b"], [], ["b"]]


def test_a_loss_that_is_not_a_number_arrives_as_such(lab: Lab, collector: Collector) -> None:
    """OTLP's doubles have NaN and infinities."""
    sent(lab, lab.event("training_step", details={"loss": "NaN", "learning_rate": "Infinity"}))
    points = collector.points()
    assert math.isnan(points["realm.training.loss"][()].as_double)
    assert points["realm.training.learning_rate"][()].as_double == math.inf


def test_names_units_and_descriptions_are_those_of_the_table(
    lab: Lab, collector: Collector
) -> None:
    """Every instrument of the table is sent once something fills it."""
    details = {"step": 1, "loss": 1, "learning_rate": 1, "tokens_per_second": 1, "total_steps": 1}
    details |= {"duration_s": 1, "accuracy": 1}
    kinds = ("training_step", "eval_completed", "job_completed", "training_completed")
    events = [lab.event(kind, details=details) for kind in (*kinds, "checkpoint_saved")]
    sent(lab, *events)
    metrics = collector.requests[0].resource_metrics[0].scope_metrics[0].metrics
    expected = [(each.name, each.unit, each.description) for each in INSTRUMENTS]
    assert [(each.name, each.unit, each.description) for each in metrics] == expected
    data = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}
    assert [each.WhichOneof("data") for each in metrics] == [data[i.kind] for i in INSTRUMENTS]
    for metric in metrics:
        if metric.WhichOneof("data") == "histogram":
            (point,) = data_of(metric).data_points
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1


@pytest.mark.parametrize(("kinds", "overflow"), [(2, None), (3, None), (4, 1), (6, 3)])
def test_the_overflow_series_has_opentelemetrys_attribute(
    make_lab: Callable[..., Lab], collector: Collector, kinds: int, overflow: int | None
) -> None:
    """A boolean, alone."""
    lab = make_lab(max_series=4)
    sent(lab, *(lab.event(f"kind_{number}") for number in range(kinds)))
    points = collector.points()["realm.events"]
    rest = points.get((("otel.metric.overflow", True),))
    assert (rest and rest.as_int) == overflow
    assert sum(point.as_int for point in points.values()) == kinds


def test_counts_are_repeated_while_nothing_happens(
    make_lab: Callable[..., Lab], collector: Collector
) -> None:
    """Prometheus forgets a series of which it hears nothing for five minutes."""
    lab = make_lab(repeat_s=0.1)
    step = lab.event("training_step", details={"loss": 1})
    lab.store([step])
    exporter = lab.exporter()
    exporter.export_events([step])
    wait_until(lambda: len(collector.requests) >= 3)
    exporter.shutdown()
    first, *others = (points_of(request) for request in collector.requests)
    assert {"realm.events", "realm.training.loss"} <= first.keys()
    for points in others:
        assert points.keys() == {"realm.events"}
        (point,) = points["realm.events"].values()
        assert point.as_int == 1
    stopped = len(collector.requests)
    time.sleep(0.3)
    assert len(collector.requests) == stopped


def test_a_permanent_rejection_is_reported_once_and_not_waited_for(
    lab: Lab, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The next push says it all again, so nothing is gained by standing still."""
    collector.status = 400
    events = [lab.event("note") for _ in range(3)]
    lab.store(events)
    exporter = lab.exporter()
    exporter.export_events(events[:1])
    time.sleep(0.02)
    lab.store([lab.event("note")])
    exporter.export_events(events)
    collector.status = 200
    time.sleep(0.02)
    last = lab.event("note")
    lab.store([last])
    exporter.export_events([last])
    exporter.shutdown()
    assert [record.message for record in caplog.records if "400" in record.message] != []
    assert len([r for r in caplog.records if r.name == "realm_exporter_otlp.metrics"]) == 1
    assert [point.as_int for point in collector.points()["realm.events"].values()] == [5]


def test_a_partial_success_is_read_and_reported(
    lab: Lab, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The receiver's own words."""
    collector.response.partial_success.rejected_data_points = 2
    collector.response.partial_success.error_message = "label too long"
    sent(lab, lab.event("note"))
    assert [r.message for r in caplog.records if "2 points refused: label too long" in r.message]


def test_in_a_plain_sdk_it_counts_what_it_is_handed(collector: Collector) -> None:
    """Records of any logger; each process is a resource of its own that begins at 0."""
    exporters = [OtlpMetricsExporter({"endpoint": collector.url}) for _ in range(2)]
    for exporter in exporters:
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        logger = provider.get_logger("lab")
        for _ in range(3):
            logger.emit(LogRecord(timestamp=time.time_ns(), body="hello", event_name="realm.note"))
        provider.shutdown()
    assert [point.as_int for point in collector.points()["realm.events"].values()] == [3]
    assert len({each["service.instance.id"] for each in collector.resources()}) == 2
    assert len(collector.requests) == 6


def test_it_keeps_every_rule_of_the_conformance_check(tmp_path: Path, lab: Lab) -> None:
    """As far as a receiver can be asked that has numbers and no events."""

    def broken() -> Any:
        away = {**lab.options, "endpoint": "http://127.0.0.1:9"}
        return lab.exporter(inside_shipper=False, options=away)

    check_exporter(lambda: lab.exporter(inside_shipper=False), None, broken)


def test_the_doctor_asks_the_receiver(lab: Lab, collector: Collector) -> None:
    """With a request that has nothing in it; one that is away is a warning with what to do."""
    ((level, text, _),) = OtlpMetricsExporter.check(lab.context())
    assert (level, text.partition(" ")[0]) == ("ok", f"{collector.url}/v1/metrics")
    away = {**lab.options, "endpoint": "http://127.0.0.1:9"}
    ((level, text, fix),) = OtlpMetricsExporter.check(lab.context(options=away))
    assert level == "warning"
    assert "127.0.0.1:9" in text
    assert "options.otlp_metrics.endpoint" in fix


def test_it_is_found_by_its_name(lab: Lab) -> None:
    """As `realm.toml` names it."""
    exporter = load_exporter("otlp_metrics", lab.context())
    assert isinstance(exporter, OtlpMetricsExporter)
    assert exporter.repeat_s == 60.0
    exporter.shutdown()


@pytest.mark.parametrize(
    ("options", "environment", "interval_s"),
    [
        ({}, {}, DEFAULT_INTERVAL_S),
        ({}, {"OTEL_METRIC_EXPORT_INTERVAL": "60000"}, 60.0),
        ({"interval_s": 2.5}, {"OTEL_METRIC_EXPORT_INTERVAL": "60000"}, 2.5),
        ({}, {"OTEL_METRIC_EXPORT_INTERVAL": " "}, DEFAULT_INTERVAL_S),
    ],
)
def test_the_interval_is_the_option_then_the_variable(
    lab: Lab, options: dict[str, Any], environment: dict[str, str], interval_s: float
) -> None:
    """The variable is OpenTelemetry's, in milliseconds, as the producer saw it."""
    exporter = lab.exporter(options=options, environment=environment)
    assert exporter.interval_s == interval_s
    exporter.shutdown()


def test_the_shipper_gets_the_producers_interval() -> None:
    """It starts with an environment of its own."""
    seen = exporter_environment({"OTEL_METRIC_EXPORT_INTERVAL": "1000", "OTEL_SDK_DISABLED": "x"})
    assert seen == {"OTEL_METRIC_EXPORT_INTERVAL": "1000"}


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ({"interval_s": -1.0}, {}, "interval_s"),
        ({"repeat_s": 0.0}, {}, "repeat_s"),
        ({"interval_s": math.nan}, {}, "interval_s"),
        ({}, {"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "OTEL_METRIC_EXPORT_INTERVAL"),
        ({}, {"OTEL_METRIC_EXPORT_INTERVAL": "0"}, "OTEL_METRIC_EXPORT_INTERVAL"),
        ({"gauges": [{"kind": "x"}]}, {}, "gauges"),
        ({"max_series": 1}, {}, "max_series"),
        ({"intervall_s": 1}, {}, "interval_s"),
    ],
)
def test_a_wrong_setting_is_named(
    lab: Lab, options: dict[str, Any], environment: dict[str, str], words: str
) -> None:
    """When it is built, so that `realm doctor` and the shipper can say it."""
    with pytest.raises(ConfigError, match=words):
        lab.exporter(options=options, environment=environment)


@pytest.fixture
def forwarding(tmp_path: Path, collector: Collector) -> Iterator[str]:
    """rotel, which takes OTLP and sends it on to the receiver; its address."""
    ports = [free_port(), free_port()]
    agent = Path(rotel.__file__).parent / "rotel-agent"
    command = [str(agent), "start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"]
    command += ["--otlp-exporter-endpoint", collector.url, "--batch-timeout", "100ms"]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{ports[0]}"]
    command += ["--otlp-grpc-endpoint", f"127.0.0.1:{ports[1]}"]
    log = (tmp_path / "rotel.txt").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is None and _listens(ports[0]))
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.processes
def test_a_collector_takes_all_of_it_and_sends_it_on(
    lab: Lab, collector: Collector, forwarding: str
) -> None:
    """rotel, which nobody here wrote, between exporter and receiver."""
    details = {"loss": 0.5, "step": 1, "duration_s": 2.0, "accuracy": 0.9, "skill": "digits"}
    kinds = ("training_step", "job_completed", "eval_completed", "note")
    events = [lab.event(kind, details=details, run_id="r7") for kind in kinds]
    lab.store(events)
    exporter = lab.exporter(options={**lab.options, "endpoint": forwarding})
    exporter.export_events(events)
    exporter.shutdown()
    wait_until(lambda: collector.requests)
    points = collector.points()
    assert sorted(point.as_int for point in points["realm.events"].values()) == [1, 1, 1, 1]
    assert points["realm.training.loss"][(("realm.run.id", "r7"),)].as_double == 0.5
    (duration,) = points["realm.job.duration"].values()
    assert (duration.count, duration.sum) == (1, 2.0)
    assert collector.resources()[0]["service.name"] == "realm_telemetry"


GPU = {
    "index": 0,
    "name": "H200",
    "utilization_percent": 93,
    "memory_used_bytes": 3,
    "memory_total_bytes": 4,
    "temperature_c": 61,
    "power_w": 312.5,
    "uncorrected_errors": 2,
}
DISK = {"device": "/dev/sda1", "mountpoint": "/", "type": "ext4"}
SAMPLE = {
    "host": "node7",
    "rss_bytes": 5,
    "cpu_percent": 150.0,
    "cpus": 4,
    "processes": 2,
    "host_cpu_percent": 50.0,
    "host_memory_bytes": 16,
    "host_memory_available_bytes": 4,
    "memory_stall_percent": 1.0,
    "container_memory_bytes": 6,
    "container_limit_bytes": 8,
    "filesystems": [DISK | {"total_bytes": 10, "used_bytes": 6, "free_bytes": 3}],
    "gpus": [GPU],
}


def test_a_sample_is_sent_as_the_instruments_of_the_conventions(
    lab: Lab, collector: Collector
) -> None:
    """Up-down counters are sums that may fall, the counter is one that does not."""
    event = lab.event("resource_sampled", run_id="r7", details=SAMPLE)
    sent(lab, event)
    metrics = collector.requests[0].resource_metrics[0].scope_metrics[0].metrics
    made = {each.name: each for each in metrics if each.name != "realm.events"}
    assert list(made) == [each.name for each in MACHINE]
    for instrument in MACHINE:
        metric = made[instrument.name]
        assert (metric.unit, metric.description) == (instrument.unit, instrument.description)
        assert metric.WhichOneof("data") == ("gauge" if instrument.sort == "gauge" else "sum")
        if instrument.sort != "gauge":
            assert metric.sum.is_monotonic == (instrument.sort == "counter")
            assert metric.sum.aggregation_temporality == 2  # cumulative
        assert {p.time_unix_nano for p in data_of(metric).data_points} == {event.time_unix_nano}
    points = collector.points()
    gpu = (("host.name", "node7"), ("hw.id", "0"), ("hw.name", "H200"), ("hw.type", "gpu"))
    assert points["hw.power"][gpu].as_double == 312.5
    assert points["hw.errors"][(*gpu, ("error.type", "uncorrected"))].as_double == 2
    run = (("host.name", "node7"), ("realm.run.id", "r7"))
    assert points["process.cpu.utilization"][run].as_double == 0.375


def test_a_sample_is_sent_once(lab: Lab, collector: Collector) -> None:
    """What did not change since is not repeated with a time that it does not have."""
    sent(lab, lab.event("resource_sampled", run_id="r7", details=SAMPLE))
    sent(lab, lab.event("note"))
    assert "hw.power" in points_of(collector.requests[0])
    assert points_of(collector.requests[-1]).keys() == {"realm.events"}

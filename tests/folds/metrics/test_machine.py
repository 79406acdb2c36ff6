"""Samples of the machine as metrics, under the names of OpenTelemetry's semantic conventions."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.semconv import attributes as stable_attributes
from opentelemetry.semconv import metrics as stable_metrics
from opentelemetry.semconv._incubating import attributes
from opentelemetry.semconv._incubating.attributes.hw_attributes import (
    HwGpuTaskValues,
    HwTypeValues,
)
from opentelemetry.semconv._incubating.attributes.system_attributes import (
    SystemFilesystemStateValues,
    SystemMemoryStateValues,
)

from realm_telemetry.event import Event
from realm_telemetry.folds.metrics import (
    INSTRUMENTS,
    MACHINE,
    OVERFLOW,
    SAMPLE_FRESH_NS,
    Definition,
    MachineInstrument,
    Metrics,
)
from realm_telemetry.folds.metrics.instruments import label_name, prometheus_name
from realm_telemetry.folds.metrics.machine import MAX_PARTS, READINGS, readings

from .conftest import SECOND_NS, START_NS, Made, folded, shown
from .test_definition import names_by_opentelemetry

GIB = 1024**3
GPU = {
    "index": 1,
    "name": "H200",
    "utilization_percent": 93,
    "memory_used_bytes": 30 * GIB,
    "memory_total_bytes": 120 * GIB,
    "temperature_c": 61,
    "power_w": 312.5,
    "uncorrected_errors": 2,
}
DISK = {
    "device": "/dev/sda1",
    "mountpoint": "/data",
    "type": "ext4",
    "total_bytes": 100 * GIB,
    "used_bytes": 60 * GIB,
    "free_bytes": 35 * GIB,
}
SAMPLE = {
    "host": "node7",
    "processes": 5,
    "rss_bytes": 3 * GIB,
    "cpu_percent": 150.0,
    "cpus": 4,
    "host_cpu_percent": 50.0,
    "host_memory_bytes": 16 * GIB,
    "host_memory_available_bytes": 4 * GIB,
    "memory_stall_percent": 2.5,
    "container_memory_bytes": 6 * GIB,
    "container_limit_bytes": 8 * GIB,
    "filesystems": [DISK],
    "gpus": [GPU],
}
HOST = {"host.name": "node7"}
RUN = HOST | {"realm.run.id": "r7"}
ON_DISK = HOST | {
    "system.device": "/dev/sda1",
    "system.filesystem.mountpoint": "/data",
    "system.filesystem.type": "ext4",
}
OF_GPU = HOST | {"hw.id": "1", "hw.name": "H200", "hw.type": "gpu"}
USED = {"system.memory.state": "used"}
SPACE = "system.filesystem.state"
EXPECTED: dict[str, list[tuple[dict[str, str], float]]] = {
    "system.cpu.utilization": [(HOST, 0.5)],
    "system.memory.usage": [(HOST | USED, 12 * GIB)],
    "system.memory.utilization": [(HOST | USED, 0.75)],
    "system.memory.limit": [(HOST, 16 * GIB)],
    "system.memory.linux.available": [(HOST, 4 * GIB)],
    "system.filesystem.usage": [
        (ON_DISK | {SPACE: "used"}, 60 * GIB),
        (ON_DISK | {SPACE: "free"}, 35 * GIB),
        (ON_DISK | {SPACE: "reserved"}, 5 * GIB),
    ],
    "system.filesystem.utilization": [(ON_DISK | {SPACE: "used"}, 60 / 95)],
    "system.filesystem.limit": [(ON_DISK, 100 * GIB)],
    "process.memory.usage": [(RUN, 3 * GIB)],
    "process.cpu.utilization": [(RUN, 0.375)],
    "container.memory.working_set": [(RUN, 6 * GIB)],
    "container.memory.available": [(RUN, 2 * GIB)],
    "hw.gpu.utilization": [(OF_GPU | {"hw.gpu.task": "general"}, 0.93)],
    "hw.gpu.memory.usage": [(OF_GPU, 30 * GIB)],
    "hw.gpu.memory.utilization": [(OF_GPU, 0.25)],
    "hw.gpu.memory.limit": [(OF_GPU, 120 * GIB)],
    "hw.temperature": [(OF_GPU, 61)],
    "hw.power": [(OF_GPU, 312.5)],
    "hw.errors": [(OF_GPU | {"error.type": "uncorrected"}, 2)],
    "realm.run.processes": [(RUN, 5)],
    "realm.system.memory.pressure": [(HOST, 0.025)],
    "realm.container.memory.limit": [(RUN, 8 * GIB)],
}
STANDARD = [each for each in MACHINE if not each.name.startswith("realm.")]


class RecordingMeter:
    """Notes which instrument a function of the conventions asks for."""

    def __getattr__(self, name: str) -> Any:
        return lambda **given: (name.removeprefix("create_").removeprefix("observable_"), given)


def by_the_conventions(name: str) -> tuple[str, str]:
    """The instrument and the unit of a metric, out of OpenTelemetry's own package."""
    namespace = name.split(".")[0]
    module = importlib.import_module(
        f"opentelemetry.semconv._incubating.metrics.{namespace}_metrics"
    )
    make = getattr(module, f"create_{name.replace('.', '_')}")
    sort, given = make(*[RecordingMeter(), None][: make.__code__.co_argcount])
    assert given["name"] == name
    return sort, given["unit"]


def texts_of(package: ModuleType) -> Iterator[str]:
    """The constants of a package's modules, which are names."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, str):
                yield value


@pytest.mark.parametrize("instrument", STANDARD, ids=lambda each: each.name)
def test_names_instruments_and_units_are_those_of_the_conventions(
    instrument: MachineInstrument,
) -> None:
    """As OpenTelemetry's own package has them; what it does not have begins with `realm.`."""
    assert (instrument.sort, instrument.unit) == by_the_conventions(instrument.name)


def test_attributes_are_those_of_the_conventions() -> None:
    known = {*texts_of(stable_attributes), *texts_of(attributes), "realm.run.id"}
    for instrument in MACHINE:
        assert {each.name for each in instrument.attributes} <= known, instrument.name


def test_none_of_the_names_is_stable_as_the_documentation_says() -> None:
    """`error.type` alone; a newer package that has more is a reason to say so there."""
    own = {attribute.name for instrument in MACHINE for attribute in instrument.attributes}
    assert own & set(texts_of(stable_attributes)) == {"error.type"}
    assert not {each.name for each in MACHINE} & set(texts_of(stable_metrics))


def test_values_of_attributes_are_those_of_the_conventions() -> None:
    known = {
        *("used", "free", "reserved", "general", "gpu"),
        "uncorrected",  # of error.type: https://opentelemetry.io/docs/specs/semconv/hardware/gpu/
    }
    listed = (HwGpuTaskValues, HwTypeValues, SystemFilesystemStateValues, SystemMemoryStateValues)
    assert known - {"uncorrected"} <= {each.value for values in listed for each in values}
    fixed = {value for part in READINGS.values() for each in part for value in each.fixed}
    assert fixed < known


def test_every_metric_has_a_reading_and_every_reading_a_metric() -> None:
    assert {each.name for part in READINGS.values() for each in part} == set(EXPECTED)
    assert [each.name for each in MACHINE] == list(EXPECTED)


@pytest.mark.parametrize("instrument", MACHINE, ids=lambda each: each.name)
def test_names_on_the_page_follow_opentelemetrys_specification(
    instrument: MachineInstrument,
) -> None:
    """As the Python exporter has them, and `ratio` for 1, which it leaves out (its own TODO).

    Prometheus' receiver of OTLP and the collector add it.
    """
    name, labels = names_by_opentelemetry(instrument)
    is_ratio = instrument.unit == "1"
    assert prometheus_name(instrument).removesuffix("_total") == name + "_ratio" * is_ratio
    assert {label_name(each.name) for each in instrument.attributes} == labels


def test_the_one_counter_ends_as_counters_do() -> None:
    counters = [prometheus_name(each) for each in MACHINE if each.shown_as == "counter"]
    assert counters == ["hw_errors_total"]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_metrics(make: Made, name: str) -> None:
    metrics = folded([make("resource_sampled", run_id="r7", details=SAMPLE)])
    assert list(shown(metrics[name])) == EXPECTED[name]


def test_the_newest_sample_counts_whatever_arrives_last(make: Made) -> None:
    def sample(at_s: int, rss: int) -> Event:
        details = SAMPLE | {"rss_bytes": rss}
        moment = START_NS + at_s * SECOND_NS
        return make("resource_sampled", run_id="r7", details=details, time_unix_nano=moment)

    for order in ([10, 20], [20, 10]):
        metrics = folded([sample(at_s, at_s) for at_s in order])
        assert list(shown(metrics["process.memory.usage"])) == [(RUN, 20)]


def test_runs_share_their_host_and_have_processes_of_their_own(make: Made) -> None:
    samples = [make("resource_sampled", run_id=run, details=SAMPLE) for run in ("a", "b")]
    metrics = folded(samples)
    assert len(list(metrics["system.memory.limit"])) == 1
    assert len(list(metrics["hw.power"])) == 1
    runs = [attributes["realm.run.id"] for attributes, _ in shown(metrics["process.memory.usage"])]
    assert runs == ["a", "b"]


def test_what_a_sample_does_not_have_is_no_metric(make: Made) -> None:
    """Of a pipeline that does not sample the host, or of an earlier version without `cpus`."""
    details = {"host": "node7", "rss_bytes": 7, "cpu_percent": 150.0, "processes": 1}
    metrics = folded([make("resource_sampled", run_id="r7", details=details)])
    filled = {series.instrument.name for series in metrics if list(series)}
    assert filled == {"realm.events", "process.memory.usage", "realm.run.processes"}


def test_gpus_beyond_the_limit_are_one_series(make: Made) -> None:
    gpus = [GPU | {"index": index} for index in range(6)]
    definition = Definition(max_series=4)
    metrics = folded([make("resource_sampled", details={"gpus": gpus})], definition)
    found = [attributes for attributes, _ in shown(metrics["hw.power"])]
    assert [each.get("hw.id") for each in found] == ["0", "1", "2", None]
    assert found[-1] == {OVERFLOW: True}


def test_a_list_of_any_length_takes_a_bounded_time(make: Made) -> None:
    event = make("resource_sampled", details={"gpus": [GPU] * 1_000})
    assert sum(name == "hw.power" for name, _, _ in readings(event)) == MAX_PARTS


@pytest.mark.parametrize(
    ("age_ns", "taken"), [(SAMPLE_FRESH_NS, False), (SAMPLE_FRESH_NS + 1, True)]
)
def test_a_host_that_is_gone_gives_its_place_to_a_new_one(
    make: Made, age_ns: int, taken: bool
) -> None:
    def sample(host: str, moment: int) -> Event:
        details = SAMPLE | {"host": host}
        return make("resource_sampled", details=details, time_unix_nano=moment)

    events = [sample("a", START_NS), sample("b", START_NS + 5), sample("c", START_NS + age_ns)]
    series = folded(events, Definition(max_series=3))["system.memory.limit"]
    hosts = {attributes.get("host.name") for attributes, _ in shown(series)}
    assert hosts == ({"b", "c"} if taken else {"a", "b", None})


def test_a_dump_goes_on_where_it_was_written(make: Made) -> None:
    first, second = (
        make("resource_sampled", run_id="r7", details=SAMPLE | {"rss_bytes": rss}) for rss in (1, 2)
    )
    again = Metrics.load(folded([first]).dump(), Definition())
    again.apply(second, 2)
    assert again.dump() == folded([first, second]).dump()


def test_a_snapshot_without_these_metrics_is_complete(make: Made) -> None:
    """The log is not folded again for them: samples that are in it are too old to be shown."""
    earlier = folded([make("note")], Definition(INSTRUMENTS))
    metrics = Metrics.load(earlier.dump(), Definition())
    assert not metrics.incomplete
    metrics.apply(make("resource_sampled", details=SAMPLE), 2)
    assert list(shown(metrics["system.memory.limit"])) == [(HOST, 16 * GIB)]


def test_points_of_a_metric_that_was_defined_differently_are_not_taken_over(make: Made) -> None:
    instruments = Definition().instruments
    other = [
        msgspec.structs.replace(each, attributes=()) if each.name == "hw.power" else each
        for each in instruments
    ]
    dumped = folded([make("resource_sampled", details=SAMPLE)]).dump()
    metrics = Metrics.load(dumped, Definition(tuple(other)))
    assert not metrics.incomplete
    assert list(metrics["hw.power"]) == []
    assert len(list(metrics["hw.temperature"])) == 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(sorted(SAMPLE)), JUNK),
    st.lists(st.dictionaries(st.sampled_from(sorted(GPU)), JUNK) | JUNK, max_size=3),
)
def test_no_sample_breaks_the_fold(details: dict[str, Any], gpus: list[Any]) -> None:
    """Anybody may send one over HTTP, with any values."""
    event = Event("resource_sampled", "system", "info", "", details | {"gpus": gpus}, 1, "aa", 1)
    lengths = {each.name: len(each.attributes) for each in MACHINE}
    for name, key, value in readings(event):
        assert len(key) == lengths[name]
        assert isinstance(value, float)
        assert all(text is None or isinstance(text, str) for text in key)
    folded([event])

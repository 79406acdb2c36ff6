"""Metrics of the machine: the numbers of `resource_sampled`, under OpenTelemetry's names.

A sample has the numbers of a run's processes, of their container and of the host, and lists of its
filesystems and GPUs. READINGS says which number becomes which metric. Names, units, instruments and
attributes are those of the semantic conventions, all of them still in development; what these
have no name for begins with `realm.`.
Source: https://opentelemetry.io/docs/specs/semconv/ (system, hardware).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from realm_telemetry.event import Event
from realm_telemetry.folds.metrics.instruments import Attribute, Instrument, InstrumentKind
from realm_telemetry.folds.metrics.series import Key, attribute_text, number

SAMPLED: Final = "resource_sampled"
SAMPLE_FRESH_NS: Final = 60_000_000_000
"""A sample that is older is no longer shown: six were due since, so its host or run is gone."""

MAX_PARTS: Final = 64
"""GPUs, or filesystems, that are read of one sample."""

Sort = Literal["gauge", "up_down_counter", "counter"]
Details = Mapping[str, Any]


class MachineInstrument(Instrument, frozen=True):
    """A metric that samples carry whole: the newest one counts.

    sort: OpenTelemetry's instrument. Sums are sent as sums, though nothing is added up here.
    """

    sort: Sort = "gauge"

    @property
    def shown_as(self) -> InstrumentKind:
        """Its type on /metrics."""
        return "counter" if self.sort == "counter" else "gauge"

    @property
    def fresh_ns(self) -> int:
        """How old a sample may be that is still shown."""
        return SAMPLE_FRESH_NS


_HOST: Final = (Attribute("host.name", "host"),)
_RUN: Final = (*_HOST, Attribute("realm.run.id", "run_id"))
_FILESYSTEM: Final = (
    *_HOST,
    Attribute("system.device", "device"),
    Attribute("system.filesystem.mountpoint", "mountpoint"),
    Attribute("system.filesystem.type", "type"),
)
_GPU: Final = (
    *_HOST,
    Attribute("hw.id", "index"),
    Attribute("hw.name", "name"),
    Attribute("hw.type", "gpu"),
)
_MEMORY_STATE: Final = Attribute("system.memory.state", "")
_FILESYSTEM_STATE: Final = Attribute("system.filesystem.state", "")


def _instrument(
    name: str, sort: Sort, unit: str, description: str, *attributes: Attribute
) -> MachineInstrument:
    return MachineInstrument(
        name, "gauge", description, unit, (SAMPLED,), None, attributes, sort=sort
    )


# fmt: off
MACHINE: Final = (
    _instrument("system.cpu.utilization", "gauge", "1",
                "Share of the time of all processors in which they were busy.", *_HOST),
    _instrument("system.memory.usage", "up_down_counter", "By",
                "Memory of the host in use.", *_HOST, _MEMORY_STATE),
    _instrument("system.memory.utilization", "gauge", "1",
                "Share of the host's memory in use.", *_HOST, _MEMORY_STATE),
    _instrument("system.memory.limit", "up_down_counter", "By",
                "Memory of the host.", *_HOST),
    _instrument("system.memory.linux.available", "up_down_counter", "By",
                "Memory that programs can have without swapping.", *_HOST),
    _instrument("system.filesystem.usage", "up_down_counter", "By",
                "Space of a filesystem by state.", *_FILESYSTEM, _FILESYSTEM_STATE),
    _instrument("system.filesystem.utilization", "gauge", "1",
                "Share in use of what users can write to a filesystem.",
                *_FILESYSTEM, _FILESYSTEM_STATE),
    _instrument("system.filesystem.limit", "up_down_counter", "By",
                "Space of a filesystem.", *_FILESYSTEM),
    _instrument("process.memory.usage", "up_down_counter", "By",
                "Resident memory of a run's processes on a host.", *_RUN),
    _instrument("process.cpu.utilization", "gauge", "1",
                "Processor time of a run's processes, of all processors they may use.", *_RUN),
    _instrument("container.memory.working_set", "up_down_counter", "By",
                "Memory of a run's container that cannot be given back at once.", *_RUN),
    _instrument("container.memory.available", "up_down_counter", "By",
                "Memory that a run's container may still use.", *_RUN),
    _instrument("hw.gpu.utilization", "gauge", "1",
                "Share of the time in which the GPU was busy.",
                *_GPU, Attribute("hw.gpu.task", "")),
    _instrument("hw.gpu.memory.usage", "up_down_counter", "By",
                "Memory of the GPU in use.", *_GPU),
    _instrument("hw.gpu.memory.utilization", "gauge", "1",
                "Share of the GPU's memory in use.", *_GPU),
    _instrument("hw.gpu.memory.limit", "up_down_counter", "By",
                "Memory of the GPU.", *_GPU),
    _instrument("hw.temperature", "gauge", "Cel",
                "Temperature of the GPU.", *_GPU),
    _instrument("hw.power", "gauge", "W",
                "Power that the GPU draws.", *_GPU),
    _instrument("hw.errors", "counter", "{error}",
                "Memory errors of the GPU since its driver was loaded.",
                *_GPU, Attribute("error.type", "")),
    _instrument("realm.run.processes", "up_down_counter", "{process}",
                "Processes of a run on a host.", *_RUN),
    _instrument("realm.system.memory.pressure", "gauge", "1",
                "Share of the last ten seconds in which something waited for memory.", *_HOST),
    _instrument("realm.container.memory.limit", "up_down_counter", "By",
                "Memory that a run's container may use at most.", *_RUN),
)
# fmt: on
"""The metrics of the machine."""


_Read = Callable[[Details], float | None]


class Reading(NamedTuple):
    """One number of a part of a sample.

    value: reads it; None where the sample does not have it.
    fixed: values of the metric's last attributes, which say what is measured.
    """

    name: str
    value: _Read
    fixed: tuple[str, ...] = ()


def _of(name: str, scale: float = 1.0) -> _Read:
    """Return what reads a number, of so many to 1."""

    def read(part: Details) -> float | None:
        value = number(part.get(name))
        return None if value is None else value / scale

    return read


def _minus(name: str) -> _Read:
    return _of(name, -1.0)


def _sum(*reads: _Read) -> _Read:
    """Return what reads several numbers and adds them; it needs all of them."""

    def read(part: Details) -> float | None:
        values = [each(part) for each in reads]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    return read


def _share(top: _Read, bottom: _Read, scale: float = 1.0) -> _Read:
    """Return what reads a number as a fraction of another."""

    def read(part: Details) -> float | None:
        above, below = top(part), bottom(part)
        return above / below / scale if above is not None and below else None

    return read


_host_used: Final = _sum(_of("host_memory_bytes"), _minus("host_memory_available_bytes"))
_writable: Final = _sum(_of("used_bytes"), _of("free_bytes"))

# fmt: off
READINGS: Final[Mapping[str, tuple[Reading, ...]]] = {
    "host": (
        Reading("system.cpu.utilization", _of("host_cpu_percent", 100)),
        Reading("system.memory.usage", _host_used, ("used",)),
        Reading("system.memory.utilization",
                _share(_host_used, _of("host_memory_bytes")), ("used",)),
        Reading("system.memory.limit", _of("host_memory_bytes")),
        Reading("system.memory.linux.available", _of("host_memory_available_bytes")),
        Reading("realm.system.memory.pressure", _of("memory_stall_percent", 100)),
    ),
    "run": (
        Reading("process.memory.usage", _of("rss_bytes")),
        Reading("process.cpu.utilization", _share(_of("cpu_percent"), _of("cpus"), 100)),
        Reading("realm.run.processes", _of("processes")),
        Reading("container.memory.working_set", _of("container_memory_bytes")),
        Reading("container.memory.available",
                _sum(_of("container_limit_bytes"), _minus("container_memory_bytes"))),
        Reading("realm.container.memory.limit", _of("container_limit_bytes")),
    ),
    "filesystems": (
        Reading("system.filesystem.usage", _of("used_bytes"), ("used",)),
        Reading("system.filesystem.usage", _of("free_bytes"), ("free",)),
        Reading("system.filesystem.usage",
                _sum(_of("total_bytes"), _minus("used_bytes"), _minus("free_bytes")),
                ("reserved",)),
        Reading("system.filesystem.utilization",
                _share(_of("used_bytes"), _writable), ("used",)),
        Reading("system.filesystem.limit", _of("total_bytes")),
    ),
    "gpus": (
        Reading("hw.gpu.utilization", _of("utilization_percent", 100), ("general",)),
        Reading("hw.gpu.memory.usage", _of("memory_used_bytes")),
        Reading("hw.gpu.memory.utilization",
                _share(_of("memory_used_bytes"), _of("memory_total_bytes"))),
        Reading("hw.gpu.memory.limit", _of("memory_total_bytes")),
        Reading("hw.temperature", _of("temperature_c")),
        Reading("hw.power", _of("power_w")),
        Reading("hw.errors", _of("uncorrected_errors"), ("uncorrected",)),
    ),
}
# fmt: on
"""By the parts of a sample. The host's own numbers and the run's are not in a list."""


def readings(event: Event) -> Iterator[tuple[str, Key, float]]:
    """Yield the numbers of a sample: a metric's name, the values of its attributes, and the number.

    What is no finite number is left out, whatever a program has sent.
    """
    for part, identity, details in _parts(event):
        for reading in READINGS[part]:
            value = reading.value(details)
            if value is not None and math.isfinite(value):
                yield reading.name, (*identity, *reading.fixed), value


def _parts(event: Event) -> Iterator[tuple[str, Key, Details]]:
    details = event.details
    host = attribute_text(details.get("host"))
    yield "host", (host,), details
    yield "run", (host, attribute_text(event.run_id)), details
    for each in _listed(details.get("filesystems")):
        yield "filesystems", (host, *_texts(each, "device", "mountpoint", "type")), each
    for each in _listed(details.get("gpus")):
        yield "gpus", (host, *_texts(each, "index", "name"), "gpu"), each


def _texts(part: Details, *names: str) -> Key:
    return tuple(attribute_text(part.get(name)) for name in names)


def _listed(value: Any) -> list[Details]:
    given = value[:MAX_PARTS] if isinstance(value, list) else []
    return [each for each in given if isinstance(each, dict)]

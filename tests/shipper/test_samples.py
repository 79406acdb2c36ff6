"""What is read of the machine: this one, made-up trees, and an NVML of the tests' own."""

import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from realm_telemetry.shipper import samples
from realm_telemetry.shipper.sampler import _fullest
from realm_telemetry.shipper.samples import (
    Gpus,
    HostProcessors,
    Usage,
    container_memory,
    disk_free,
    filesystems,
    host_memory,
    memory_stall_percent,
    peak_rss_bytes,
    processors_of,
)

MIB = 1024 * 1024


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up /proc and /sys/fs/cgroup; the process is number 7."""
    monkeypatch.setattr(samples, "PROC", tmp_path / "proc")
    monkeypatch.setattr(samples, "CGROUPS", tmp_path / "cgroup")
    (tmp_path / "proc" / "7").mkdir(parents=True)
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_this_process_has_memory_and_uses_the_processor() -> None:
    usage = Usage()
    usage.take([os.getpid()], 10.0)
    ends = time.process_time() + 0.2
    while time.process_time() < ends:
        pass
    found = usage.take([os.getpid()], 11.0)
    assert found["processes"] == 1
    assert 15 <= found["cpu_percent"] <= 60
    assert 5 * MIB < found["rss_bytes"] <= (peak_rss_bytes(os.getpid()) or 0) + 64 * MIB


def test_a_process_that_is_gone_uses_nothing() -> None:
    assert Usage().take([2**22 + 1], 1.0) == {"processes": 0, "rss_bytes": 0}
    assert peak_rss_bytes(2**22 + 1) is None
    assert container_memory(2**22 + 1) == {}


def test_the_host_and_its_disks_are_read() -> None:
    found = host_memory()
    assert 0 < found["host_memory_available_bytes"] < found["host_memory_bytes"]
    assert disk_free({"home": "/", "gone": "/no/such/place"}).keys() == {"home_free_bytes"}
    assert all(0.0 <= share <= 100.0 for share in memory_stall_percent().values())


def test_the_processors_of_the_host_are_busy_with_this_process() -> None:
    processors = HostProcessors()
    assert processors.take() == {}
    ends = time.process_time() + 0.3
    while time.process_time() < ends:
        pass
    (share,) = processors.take().values()
    assert 0 < share <= 100
    assert 1 <= processors_of(os.getpid())["cpus"] <= (os.cpu_count() or 1)
    assert processors_of(2**22 + 1) == {}


@pytest.mark.parametrize(
    ("later", "found"),
    [
        ("cpu 200 10 40 1050 100 0 0 0 90 0", {"host_cpu_percent": 50.0}),
        ("cpu 100 10 40 1000 50 0 0 0 0 0", {}),  # no time has passed
        ("cpu 90 10 40 1300 50 0 0 0 0 0", {"host_cpu_percent": 0.0}),  # it counts backwards
        ("intr 1", {}),
    ],
)
def test_waiting_for_a_disk_is_idle_and_guests_are_not_counted_twice(
    machine: Path, later: str, found: dict[str, float]
) -> None:
    write(machine / "proc/stat", "cpu 100 10 40 1000 50 0 0 0 0 0\ncpu0 1 1 1 1\n")
    processors = HostProcessors()
    processors.take()
    write(machine / "proc/stat", later)
    assert processors.take() == found


def test_directories_of_one_filesystem_are_one() -> None:
    """With its space, as `df` has it."""
    (root,) = filesystems({"home": "/", "gone": "/no/such/place"})
    facts = os.statvfs("/")
    assert root["mountpoint"] == "/"
    assert root["total_bytes"] == facts.f_blocks * facts.f_frsize
    assert 0 < root["used_bytes"] + root["free_bytes"] <= root["total_bytes"]
    assert {each["mountpoint"] for each in filesystems({"a": "/dev", "b": "/proc"})} <= {
        *("/", "/dev", "/proc")
    }


def test_a_mount_point_is_found_by_its_path(machine: Path) -> None:
    """The nearest above the directory, the last of several at one place; blanks are escaped."""
    data = machine / "my data"
    (data / "checkpoints").mkdir(parents=True)
    name = str(data).replace(" ", r"\040")
    lines = [
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
        f"30 22 0:40 / {name} rw - tmpfs tmpfs rw",
        f"31 22 0:41 / {name} rw,nosuid master:2 - nfs4 lab:/export\\040one rw",
    ]
    write(machine / "proc/self/mountinfo", "\n".join(lines) + "\n")
    found = filesystems({"checkpoints": str(data / "checkpoints"), "home": str(machine)})
    named = [(each["device"], each["mountpoint"], each["type"]) for each in found]
    assert named == [("lab:/export one", str(data), "nfs4"), ("/dev/sda1", "/", "ext4")]


def test_without_mountinfo_there_are_no_filesystems(machine: Path) -> None:
    assert filesystems({"home": "/"}) == []


def test_of_control_groups_inside_each_other_the_fullest_counts(machine: Path) -> None:
    write(machine / "proc/7/cgroup", "0::/job/step\n")
    write(machine / "cgroup/job/step/memory.current", f"{100 * MIB}\n")
    write(machine / "cgroup/job/step/memory.max", "max\n")
    write(machine / "cgroup/job/memory.current", f"{900 * MIB}\n")
    write(machine / "cgroup/job/memory.max", f"{1000 * MIB}\n")
    write(machine / "cgroup/memory.current", f"{2000 * MIB}\n")
    write(machine / "cgroup/memory.max", f"{8000 * MIB}\n")
    assert container_memory(7) == {
        "container_memory_bytes": 900 * MIB,
        "container_limit_bytes": 1000 * MIB,
    }
    assert _fullest(7) == ("container", 900 * MIB, 1000 * MIB)


def test_the_older_kind_of_control_groups_is_read_too(machine: Path) -> None:
    write(machine / "proc/7/cgroup", "5:cpu:/\n4:memory:/job\n0::/\n")
    write(machine / "cgroup/memory/job/memory.usage_in_bytes", f"{10 * MIB}\n")
    write(machine / "cgroup/memory/job/memory.limit_in_bytes", f"{20 * MIB}\n")
    write(machine / "cgroup/memory/memory.usage_in_bytes", f"{10 * MIB}\n")
    write(machine / "cgroup/memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    assert container_memory(7)["container_limit_bytes"] == 20 * MIB


@pytest.mark.parametrize("name", ["inactive_file", "total_inactive_file"])
def test_the_page_cache_is_not_counted(machine: Path, name: str) -> None:
    """It goes before anything is killed, and a data loader fills all there is with it."""
    write(machine / "proc/7/cgroup", "0::/job\n")
    write(machine / "cgroup/job/memory.current", f"{99 * MIB}\n")
    write(machine / "cgroup/job/memory.max", f"{100 * MIB}\n")
    write(machine / "cgroup/job/memory.stat", f"anon {9 * MIB}\n{name} {90 * MIB}\n")
    assert _fullest(7) == ("container", 9 * MIB, 100 * MIB)


def test_without_a_limit_the_host_counts(machine: Path) -> None:
    write(machine / "proc/7/cgroup", "0::/\n")
    write(machine / "proc/meminfo", "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 25 kB\n")
    assert container_memory(7) == {}
    assert _fullest(7) == ("host", 75 * 1024, 100 * 1024)


def nvml(**broken: Any) -> ModuleType:
    """An NVML of two cards; what is named raises."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("not supported")

    functions: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: f"card {index}",
        "nvmlDeviceGetName": lambda handle: handle.encode(),
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=93),
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=5 * MIB, total=9 * MIB),
        "nvmlDeviceGetTemperature": lambda _handle, _sensor: 61,
        "nvmlDeviceGetPowerUsage": lambda _: 312_500,
        "nvmlDeviceGetTotalEccErrors": lambda *_: 0,
        "NVML_TEMPERATURE_GPU": 0,
        "NVML_MEMORY_ERROR_TYPE_UNCORRECTED": 1,
        "NVML_VOLATILE_ECC": 0,
    }
    module = ModuleType("pynvml")
    vars(module).update(functions | dict.fromkeys(broken, fail))
    return module


@pytest.fixture
def use_nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda module: monkeypatch.setitem(sys.modules, "pynvml", module)


def test_each_gpu_is_read_and_what_it_does_not_support_is_left_out(use_nvml: Any) -> None:
    use_nvml(nvml(nvmlDeviceGetTotalEccErrors=True, nvmlDeviceGetPowerUsage=True))
    first, second = Gpus().take()
    assert first == {
        "index": 0,
        "name": "card 0",
        "utilization_percent": 93,
        "memory_used_bytes": 5 * MIB,
        "memory_total_bytes": 9 * MIB,
        "temperature_c": 61,
    }
    assert second["name"] == "card 1"


@pytest.mark.parametrize("trouble", ["no library", "no driver"])
def test_without_nvml_there_is_one_failure_and_then_none(use_nvml: Any, trouble: str) -> None:
    use_nvml(None if trouble == "no library" else nvml(nvmlInit=True))
    gpus = Gpus()
    assert gpus.take() == []
    use_nvml(nvml())
    assert gpus.take() == []

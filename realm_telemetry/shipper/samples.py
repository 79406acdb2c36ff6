"""Samples of the machine while a run goes on: memory, processor, disk and GPUs, every ten seconds.

One shipper of a host samples, the one that holds a lock in the spool root; another takes over when
it ends. Read from /proc, the control groups and NVML; what is not there is left out.
Source: proc(5); the kernel's cgroup-v2.rst and psi.rst; NVML API reference.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from realm_telemetry.shipper.process_end import stat_fields

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")
MAX_PROCESSES: Final = 512
"""Of one program's tree."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME, _RSS = 13, 14, 23
_NO_LIMIT: Final = 1 << 60
_IDLE: Final = slice(3, 5)
_COUNTED: Final = 8
"""Of the times in /proc/stat; idle and iowait are at `_IDLE`, guests are counted as user too."""

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def tree_of(pid: int) -> list[int]:
    """Return a process and what it has started, as far as that still runs."""
    found, left = [pid], [pid]
    while left and len(found) < MAX_PROCESSES:
        children = _children(left.pop())
        found += children
        left += children
    return found[:MAX_PROCESSES]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in (PROC / str(pid) / "task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


class Usage:
    """What processes use; it remembers their processor time from one sample to the next."""

    def __init__(self) -> None:
        self._ticks: dict[int, int] = {}
        self._at_s = 0.0

    def take(self, pids: Iterable[int], now_s: float) -> dict[str, Any]:
        """Return `rss_bytes`, `processes` and `cpu_percent`; the last is of the time since before.

        cpu_percent: 100 is one core.
        """
        ticks: dict[int, int] = {}
        rss_pages = 0
        for pid in pids:
            fields = stat_fields(str(pid))
            if fields is not None:
                ticks[pid] = int(fields[_UTIME]) + int(fields[_STIME])
                rss_pages += int(fields[_RSS])
        spent = sum(count - self._ticks.get(pid, count) for pid, count in ticks.items())
        interval_s = now_s - self._at_s
        found: dict[str, Any] = {"processes": len(ticks), "rss_bytes": rss_pages * _PAGE}
        if self._ticks and interval_s > 0:
            found["cpu_percent"] = round(100 * spent / _TICKS_PER_S / interval_s, 1)
        self._ticks, self._at_s = ticks, now_s
        return found


def processors_of(pid: int) -> dict[str, int]:
    """Return `cpus`: how many processors a process may run on."""
    with suppress(OSError):
        return {"cpus": len(os.sched_getaffinity(pid))}
    return {}


class HostProcessors:
    """How busy the processors of the host are; it remembers their times from look to look."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def take(self) -> dict[str, float]:
        """Return `host_cpu_percent`, 100 if all are busy; nothing the first time."""
        before, self._before = self._before, self._times()
        if before is None or self._before is None:
            return {}
        busy, total = self._before[0] - before[0], self._before[1] - before[1]
        return {"host_cpu_percent": round(100 * max(busy, 0) / total, 1)} if total > 0 else {}

    def _times(self) -> tuple[int, int] | None:
        """Busy and all time of the processors, in ticks."""
        with suppress(OSError, ValueError, IndexError):
            line = (PROC / "stat").read_text().splitlines()[0]
            times = [int(text) for text in line.split()[1:]][:_COUNTED]
            return sum(times) - sum(times[_IDLE]), sum(times)
        return None


def peak_rss_bytes(pid: int) -> int | None:
    """Return the greatest memory that a process has had; None if it is gone."""
    return _kilobytes(PROC / str(pid) / "status").get("VmHWM")


def host_memory() -> dict[str, int]:
    """Return `host_memory_bytes` and `host_memory_available_bytes`."""
    found = _kilobytes(PROC / "meminfo")
    named = {"MemTotal": "host_memory_bytes", "MemAvailable": "host_memory_available_bytes"}
    return {name: found[line] for line, name in named.items() if line in found}


def _kilobytes(file: Path) -> dict[str, int]:
    """Return the lines `Name:  123 kB` of a file, in bytes."""
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(value) * 1024 for name, value, *_ in pairs if value.isdigit()}


def container_memory(pid: int) -> dict[str, int]:
    """Return `container_memory_bytes` and `container_limit_bytes` of a process's control group.

    Nothing where no group has a limit. Of several groups inside each other: the fullest one.
    """
    fullest: dict[str, int] = {}
    share = -1.0
    for directory, used_name, limit_name in _groups(pid):
        used, limit = _number(directory / used_name), _number(directory / limit_name)
        # The page cache goes before anything is killed.
        used = used and max(used - _inactive_file(directory), 0)
        if used is None or not limit or limit >= _NO_LIMIT or used / limit <= share:
            continue
        share = used / limit
        fullest = {"container_memory_bytes": used, "container_limit_bytes": limit}
    return fullest


def _groups(pid: int) -> list[tuple[Path, str, str]]:
    """The control groups of a process with a memory controller, the innermost first."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = CGROUPS, ("memory.current", "memory.max")
        elif "memory" in controllers.split(","):
            root, names = CGROUPS / "memory", ("memory.usage_in_bytes", "memory.limit_in_bytes")
        else:
            continue
        directory = root / path.lstrip("/")
        inside = [directory, *directory.parents]
        found += [(each, *names) for each in inside if each.is_relative_to(root)]
    return found


def _inactive_file(group: Path) -> int:
    """The bytes of a control group's page cache that can be given back at once."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    pairs = dict(line.partition(" ")[::2] for line in lines)
    text = pairs.get("total_inactive_file") or pairs.get("inactive_file") or ""
    return int(text) if text.isdigit() else 0


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def memory_stall_percent() -> dict[str, float]:
    """Return the share of time in which something waited for memory, over the last ten seconds."""
    with suppress(OSError, ValueError, IndexError):
        line = (PROC / "pressure" / "memory").read_text().splitlines()[0]
        fields = dict(part.partition("=")[::2] for part in line.split()[1:])
        return {"memory_stall_percent": float(fields["avg10"])}
    return {}


def disk_free(directories: Mapping[str, str]) -> dict[str, int]:
    """Return the bytes that this user may still write, by name of the directory."""
    found = {}
    for name, directory in directories.items():
        with suppress(OSError, ValueError):
            facts = os.statvfs(directory)
            found[f"{name}_free_bytes"] = facts.f_bavail * facts.f_frsize
    return found


def filesystems(directories: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the filesystems that directories are on, each once, with their space in bytes.

    free_bytes: what this user may still write. What is kept for root is in neither.
    """
    mounts = _mounts()
    found: dict[str, dict[str, Any]] = {}
    for directory in directories.values():
        with suppress(OSError, ValueError):
            path = Path(os.path.realpath(directory))
            mountpoint = next((str(up) for up in (path, *path.parents) if str(up) in mounts), None)
            if mountpoint is not None and mountpoint not in found:
                facts = os.statvfs(directory)
                device, kind = mounts[mountpoint]
                found[mountpoint] = {
                    "device": device,
                    "mountpoint": mountpoint,
                    "type": kind,
                    "total_bytes": facts.f_blocks * facts.f_frsize,
                    "used_bytes": (facts.f_blocks - facts.f_bfree) * facts.f_frsize,
                    "free_bytes": facts.f_bavail * facts.f_frsize,
                }
    return list(found.values())


def _mounts() -> dict[str, tuple[str, str]]:
    """Return device and type by mount point; of several at one place the last, which is on top."""
    try:
        lines = (PROC / "self" / "mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        place, _, mounted = line.partition(" - ")
        kind, device, *_ = [*mounted.split(), "", ""]
        found[_unescaped(place.split()[4])] = (_unescaped(device), kind)
    return found


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


class Gpus:
    """The GPUs of this host through NVML; where that is not there, one cheap failure."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] | None = None

    def take(self) -> list[dict[str, Any]]:
        """Return one mapping for each GPU; nothing where there is none."""
        if self._handles is None:
            self._handles = self._open()
        return [self._of(index, handle) for index, handle in enumerate(self._handles)]

    def _open(self) -> list[Any]:
        try:
            nvml: Any = import_module("pynvml")
            nvml.nvmlInit()
            self._nvml = nvml
            return list(map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount())))
        except Exception:  # noqa: BLE001 - a foreign library, or none
            return []

    def _of(self, index: int, handle: Any) -> dict[str, Any]:
        nvml = self._nvml
        readings: dict[str, Callable[[], Any]] = {
            "name": lambda: _text(nvml.nvmlDeviceGetName(handle)),
            "utilization_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
            "memory_total_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "uncorrected_errors": lambda: nvml.nvmlDeviceGetTotalEccErrors(
                handle,
                nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                nvml.NVML_VOLATILE_ECC,
            ),
        }
        found: dict[str, Any] = {"index": index}
        for name, read in readings.items():
            # Each by itself: a consumer's card has no counters of errors, a virtual one no power.
            with suppress(Exception):
                found[name] = read()
        return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

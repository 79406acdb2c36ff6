"""How another process ended, as far as one that is not its parent can find out.

Linux 6.15 and later tell whoever holds a pidfd how the process ended, once it has been waited for;
until then a zombie's line in /proc does. Else nothing is known.

A pidfd can be had only while the process is there, and a shipper looks for new spools ten times a
second. So a process hands its own over: by inheritance to the shipper that it starts, by a socket
of the pipeline to one that runs. It waits there however soon the process ends.
Source: include/uapi/linux/pidfd.h, `struct pidfd_info`; proc_pid_stat(5); unix(7), SCM_RIGHTS.
"""

import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from socket import socket

_INFO = struct.Struct("<QQ11Ii")  # mask, cgroup, pid and ten other ids, exit code
_GET_INFO: Final = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11
_INFO_EXIT: Final = 1 << 3
_STATE, _UTIME, _STIME, _THREADS, _START_TICKS, _EXIT_CODE = 2, 13, 14, 19, 21, 51
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_CPU_LIMIT: Final = "Max cpu time"
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OF_ROOT: Final = (str(_CGROUPS / "memory" / "memory.oom_control"),)
_VMSTAT: Final = Path("/proc/vmstat")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")
_NOISE_S: Final = 0.7
"""How much too early a limit of a few seconds was enforced at most, on a busy machine."""

TICK_S: Final = 0.1
"""How exactly the kernel keeps a limit of processor time, and counts what was used of it."""


_INBOX_NAME: Final = "shipper.inbox"
_MESSAGE_BYTES: Final = 64
_PASS_ON_S: Final = 1.0
_MAX_HANDED: Final = 512
"""Descriptors that wait for the spools of their processes; then the oldest is closed."""

_handed: Final[dict[tuple[int, int], int]] = {}
"""Descriptors of processes that handed them over, by pid and start."""
_inboxes: Final[set["socket"]] = set()
"""Of the pipelines that this process ships."""


def take_over(descriptor: int, process: str) -> bool:
    """Take the descriptor of a process that it handed over itself; whether it is kept.

    process: its pid and the ticks of its start, with a colon between. What is not such a
    descriptor is left alone.
    """
    pid, _, ticks = process.partition(":")
    try:
        facts = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
        if not (pid.isdigit() and ticks.isdigit() and "\nPid:" in facts):
            return False
        os.set_inheritable(descriptor, False)
    except OSError:
        return False
    known = (int(pid), int(ticks))
    if known in _handed:
        return False
    if len(_handed) >= _MAX_HANDED:
        os.close(_handed.pop(next(iter(_handed))))
    _handed[known] = descriptor
    return True


def own_process() -> tuple[int, str]:
    """Return a descriptor of this process and its identity; -1 and "" where there is none."""
    try:
        ticks = start_ticks("self")
        if ticks is not None:
            return os.pidfd_open(os.getpid()), f"{os.getpid()}:{ticks}"
    except OSError:  # an older kernel, or no descriptors are left
        pass
    return -1, ""


def hand_over(pipeline_dir: Path) -> bool:
    """Give a shipper that runs for this pipeline a descriptor of this process. Never waits.

    Returns whether there is such a shipper, and it can have it.
    """
    if not (pipeline_dir / _INBOX_NAME).exists():
        return False
    descriptor, process = own_process()
    try:
        return _send(pipeline_dir, descriptor, process)
    finally:
        if process:
            os.close(descriptor)


def _send(pipeline_dir: Path, descriptor: int, process: str) -> bool:
    from socket import send_fds

    try:
        with _short_path(pipeline_dir) as path, _datagrams() as sender:
            sender.connect(path)
            send_fds(sender, [process.encode()], [descriptor])
    except OSError:  # no shipper, one that has many to take, or no descriptor of this process
        return False
    return True


def pass_on(pipeline_dir: Path) -> None:
    """Give the shipper that was faster what this one was handed; waits for a second at most."""
    deadline_s = monotonic() + _PASS_ON_S
    for (pid, ticks), descriptor in _handed.items():
        while not _send(pipeline_dir, descriptor, f"{pid}:{ticks}") and monotonic() < deadline_s:
            sleep(_PASS_ON_S / 50)


@contextmanager
def inbox(pipeline_dir: Path) -> Iterator[None]:
    """Let processes hand over their descriptors; only the one shipper of a pipeline may."""
    opened = None
    # A file system without sockets, or no descriptors: ends are found out as far as they can be.
    with suppress(OSError), _short_path(pipeline_dir) as path:
        opened = _datagrams()
        Path(path).unlink(missing_ok=True)
        opened.bind(path)
        _inboxes.add(opened)
    try:
        yield
    finally:
        if opened is not None:
            _inboxes.discard(opened)
            opened.close()


def _datagrams() -> "socket":
    from socket import AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK, socket

    return socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK)


@contextmanager
def _short_path(pipeline_dir: Path) -> Iterator[str]:
    """Where the socket is, in less than the 108 bytes that an address of one may have."""
    directory = os.open(pipeline_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{_INBOX_NAME}"
    finally:
        os.close(directory)


def _take_in() -> None:
    """Take over all that has been handed to this process by now."""
    from socket import recv_fds

    for opened in tuple(_inboxes):
        with suppress(OSError):  # nothing more
            while True:
                process, descriptors, _, _ = recv_fds(opened, _MESSAGE_BYTES, 1)
                for descriptor in descriptors:
                    if not take_over(descriptor, process.decode("ascii", "replace")):
                        os.close(descriptor)


class ProcessEnd(NamedTuple):
    """An end.

    goes_on: the process is there: the program has only become another one (`execv`).
    known: whether code or signal is.
    """

    goes_on: bool = False
    known: bool = False
    code: int | None = None
    signal: int | None = None


class ProcessWatch:
    """Watches the process of a producer from its hello on."""

    def __init__(self, hello: dict[str, Any]) -> None:
        self._pid, self._start_ticks = hello.get("pid"), hello.get("start_ticks")
        near = (hello.get("host"), hello.get("pid_namespace")) == (host(), pid_namespace())
        self._is_near = near and type(self._pid) is int and type(self._start_ticks) is int
        self._descriptor = self._open() if self._is_near and self._pid != os.getpid() else None

    def awaits_descriptor(self) -> bool:
        """Whether only a descriptor that another shipper passes on can say how it ended."""
        if self._descriptor is None and self._is_near and self._pid != os.getpid():
            self._descriptor = self._open()
            return self._descriptor is None
        return False

    def goes_on(self) -> bool:
        """Whether the process runs, as far as can be seen: also while it is about to end."""
        fields = self._stat()
        return fields is not None and fields[_STATE] not in "ZX"

    def pid(self) -> int | None:
        """The process's pid while it runs where this process can see it; else None."""
        return self._pid if self._stat() is not None else None

    def is_stopped(self) -> bool:
        """Whether it stands still by a signal or under a debugger."""
        fields = self._stat()
        return fields is not None and fields[_STATE] in "Tt"

    def end(self) -> ProcessEnd:
        """How it ended; closes the watch."""
        try:
            return self._of_zombie() or self._of_descriptor()
        finally:
            self.close()

    def close(self) -> None:
        """Watch no longer."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int | None:
        _take_in()
        handed = _handed.pop((int(self._pid or 0), int(self._start_ticks or 0)), None)
        if handed is not None:
            return handed
        try:
            descriptor = os.pidfd_open(int(self._pid or 0))
        except (OSError, OverflowError):  # gone, no number of a process, or no descriptors are left
            return None
        if self._stat() is None:
            os.close(descriptor)
            return None
        return descriptor

    def _stat(self) -> list[str] | None:
        """The process's line in /proc; None if it is gone or another has its pid."""
        fields = stat_fields(str(self._pid)) if self._is_near else None
        if fields is None or int(fields[_START_TICKS]) != self._start_ticks:
            return None
        return fields

    def _of_zombie(self) -> ProcessEnd | None:
        fields = self._stat()
        if fields is None:
            return None
        if fields[_STATE] not in "ZX":
            return ProcessEnd(goes_on=True)
        return _of_status(int(fields[_EXIT_CODE]))

    def _of_descriptor(self) -> ProcessEnd:
        if self._descriptor is None:
            return ProcessEnd()
        question = bytearray(_INFO.pack(_INFO_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(self._descriptor, _GET_INFO, question)
        except OSError:  # an older kernel
            return ProcessEnd()
        mask, *_, status = _INFO.unpack(question)
        return _of_status(status) if mask & _INFO_EXIT else ProcessEnd()


def _of_status(status: int) -> ProcessEnd:
    if os.WIFSIGNALED(status):
        return ProcessEnd(known=True, signal=os.WTERMSIG(status))
    return ProcessEnd(known=True, code=os.WEXITSTATUS(status))


def start_ticks(pid: str) -> int | None:
    """When a process started, in clock ticks since the system did; None if it is gone."""
    fields = stat_fields(pid)
    return int(fields[_START_TICKS]) if fields else None


def identity() -> dict[str, Any]:
    """What tells this process from all others, as a producer's hello has it."""
    return {
        "pid": os.getpid(),
        "start_ticks": start_ticks("self"),
        "pid_namespace": pid_namespace(),
        "host": host(),
        "child": _is_child(),
        "memory_kills": memory_kills(),
    }


def _is_child() -> bool:
    """Whether `multiprocessing` runs this process for another, which ends it as it likes."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def stat_fields(pid: str) -> list[str] | None:
    """The fields of a line of /proc/<pid>/stat; None if it cannot be read."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes().decode("ascii", "replace")
    except OSError:
        return None
    # The name, in parentheses, may have spaces and parentheses itself.
    before, _, after = line.rpartition(")")
    return [before.partition(" ")[0], before.partition("(")[2], *after.split()]


class ProcessorTime(NamedTuple):
    """The processor time of a process under a limit, in seconds; at the limit SIGKILL ends it.

    threads: how many may use it up at once.
    """

    limit_s: float
    used_s: float
    threads: int

    @property
    def left_s(self) -> float:
        """What is left of it."""
        return self.limit_s - self.used_s

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left."""
        return self.left_s <= TICK_S

    @property
    def is_nearly_used_up(self) -> bool:
        """Whether the kernel may have taken it for used up.

        It counts by the tick, and so too much on a busy machine: up to a fifth was seen. What it
        shows is exact.
        """
        return self.left_s <= max(self.limit_s / 5, self.threads / 2, _NOISE_S)


def processor_time(pid: int) -> ProcessorTime | None:
    """Return what a process has used of its limit (`ulimit -t`, RLIMIT_CPU); None without one.

    Also of one that has ended, and whose parent has not waited for it.
    """
    try:
        lines = Path(f"/proc/{pid}/limits").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    hard = next((line.split()[4] for line in lines if line.startswith(_CPU_LIMIT)), "")
    fields = stat_fields(str(pid)) if hard.isdigit() else None
    if fields is None:
        return None
    used_s = (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S
    return ProcessorTime(float(hard), used_s, max(int(fields[_THREADS]), 1))


def pid_namespace() -> str:
    """The name of this process's pid namespace; empty if it cannot be read."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def host() -> str:
    """The host, with the time it was started: pids begin again then."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return f"{os.uname().nodename} {boot.strip()}"
    except OSError:
        return os.uname().nodename


def memory_kills() -> dict[str, Any]:
    """Return the kernel's counters of processes killed for want of memory, as a hello has them.

    container: a pair of the file and its count, of the innermost control group that counts.
    """
    return {"host": _count(_VMSTAT), "container": _container()}


def kills_in_group_of(pid: int) -> tuple[str, int] | None:
    """Return the same pair for the control group of another process."""
    return _container(Path(f"/proc/{pid}/cgroup"))


class GroupKills:
    """Counts who is killed for want of memory in the control group that a process is in at last."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._first: dict[str, int] = {}

    def look(self) -> None:
        """See where the process is, while it lives."""
        if (found := kills_in_group_of(self._pid)) is not None:
            self._first.setdefault(*found)

    def at_end(self) -> int | None:
        """How many were killed, once the process has ended and before its parent waits for it."""
        found = kills_in_group_of(self._pid)
        # Of one that has ended version 1 says the root, whatever it was in.
        file = found[0] if found and found[0] not in _OF_ROOT else next(reversed(self._first), None)
        if file is None:
            return None
        return _risen(self._first.get(file, 0), _count(Path(file)))


def kills_since(begin: Any) -> tuple[int | None, int | None]:
    """Return how many were killed in the container and on the host since a `memory_kills`."""
    if not isinstance(begin, dict):
        return None, None
    container = begin.get("container")
    in_container = None
    if isinstance(container, list | tuple) and len(container) == 2:
        in_container = _risen(container[1], _count(Path(str(container[0]))))
    return in_container, _risen(begin.get("host"), _count(_VMSTAT))


def _risen(before: Any, now: int | None) -> int | None:
    return None if type(before) is not int or now is None else max(now - before, 0)


def _container(membership: Path | None = None) -> tuple[str, int] | None:
    try:
        lines = (
            (membership or _MEMBERSHIP).read_text(encoding="utf-8", errors="replace").splitlines()
        )
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            file = _CGROUPS / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            file = _CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        if (count := _count(file)) is not None:
            return str(file), count
    return None


def _count(file: Path) -> int | None:
    """Return the number behind `oom_kill` in a file of counters; None if there is none."""
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError):  # a hello may name anything
        return None
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return None


# A forked child of a process with a shipper in a thread takes nothing from that one.
os.register_at_fork(after_in_child=_inboxes.clear)

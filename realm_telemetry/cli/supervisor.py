"""The parent of a command: it passes signals on, waits, and ends in the same way.

The command has the same process group, terminal, signal mask and dispositions as without us, and
goes on if this process is killed; what it prints passes through `capture`. Signals are waited for
and never handled, so that none comes between two lines of Python.
Source: sigwaitinfo(2), wait(2), "Signals and job control" in bash(1).
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from realm_telemetry.cli.capture import Capture

if TYPE_CHECKING:
    from realm_telemetry.shipper.process_end import ProcessorTime

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of a shell for a command that cannot be started."""

_PASSED_ON: Final = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGXCPU,
        signal.SIGWINCH,
    }
)
"""SIGTSTP, SIGTTIN and SIGTTOU stop both processes, as the terminal means it; SIGCONT goes on."""

_ASKS_TO_END: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_LOOKS: Final = 10
_LOOK_S: Final = 0.005

_WAITED_FOR: Final = _PASSED_ON | {signal.SIGCHLD}


_FIRST_LOOK_S: Final = 0.5
_GROUP_LOOK_S: Final = 5.0
"""Between looks at the control group that the command is in: `systemd-run` goes into one."""

_JUST_LOOK: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT

_ENDS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
ASKED_S: Final = 30.0
"""An end that comes later was not for the signal."""


class Asked(NamedTuple):
    """A signal that asked the command to end.

    sender: the name and pid of who sent it, as far as known. at_s: when, on `time.monotonic`.
    """

    number: int
    sender: str
    at_s: float


class Ended(NamedTuple):
    """How a command ended; one of code and signal is None.

    asked: what had asked it to shortly before; None for nothing.
    processor: its processor time, if that has a limit.
    group_kills: how many the kernel killed for want of memory in its control group, if known.
    """

    code: int | None
    signal: int | None
    asked: Asked | None = None
    processor: "ProcessorTime | None" = None
    group_kills: int | None = None


class Supervisor:
    """Runs one command.

    forward: whether signals that other processes send are passed on.
    capture: where its output goes; None if it inherits that.
    Raises FileNotFoundError, PermissionError or OSError if the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        forward: bool = True,
        capture: Capture | None = None,
    ) -> None:
        self._forward = forward
        self._capture = capture
        self._is_asked_to_end = False
        self._asked: Asked | None = None
        self._output = (None, None) if capture is None else (capture.stdout, capture.stderr)
        # An ignored SIGCHLD, which can be inherited, would throw the exit status away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        try:
            self._process = self._started(list(command), environment, before)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                raise
            # A script without a first line that names its interpreter: as shells do.
            self._process = self._started(["/bin/sh", *command], environment, before)
        if capture is not None:
            capture.begin()

    @property
    def pid(self) -> int:
        """The command's."""
        return self._process.pid

    def wait(self) -> Ended:
        """Wait for the end of the command, and pass signals on meanwhile."""
        from realm_telemetry.shipper.process_end import GroupKills, processor_time

        group, look_s = GroupKills(self.pid), _FIRST_LOOK_S
        while not self._has_ended():
            info = signal.sigtimedwait(_WAITED_FOR, look_s)
            if info is None:
                group.look()
                look_s = _GROUP_LOOK_S
            elif info.si_pid != os.getpid():
                self._resize(info)
                self._pass_on(info)
        asked = self._asked
        if asked is not None and time.monotonic() - asked.at_s > ASKED_S:
            asked = None
        seen = Ended(None, None, asked, processor_time(self.pid), group.at_end())
        code = self._process.wait()
        return seen._replace(signal=-code) if code < 0 else seen._replace(code=code)

    def _has_ended(self) -> bool:
        """Whether the command has ended; it is not taken leave of, so that /proc still has it."""
        try:
            return os.waitid(os.P_PID, self.pid, _JUST_LOOK) is not None
        except ChildProcessError:
            return True

    def drain(self, stuck_s: float | None = None) -> None:
        """Wait until what the command wrote has gone out, or a signal asks us to end.

        Not for other processes that still have its output. A reader that takes nothing would have
        held up the command itself.
        stuck_s: wait so long for such a reader, in seconds; None: as long as it takes.
        """
        if self._capture is None or self._is_asked_to_end:
            return
        while stuck_s and signal.sigtimedwait(_ASKS_TO_END, 0):
            pass  # it was for the command
        self._capture.note_end()
        drained, given, moved_s = 0, -1, time.monotonic()
        while drained < _LOOKS and not self._capture.is_over:
            drained = drained + 1 if self._capture.is_drained else 0
            if self._capture.given != given:
                given, moved_s = self._capture.given, time.monotonic()
            elif stuck_s is not None and time.monotonic() - moved_s > stuck_s:
                return
            if signal.sigtimedwait(_ASKS_TO_END, _LOOK_S) is not None:
                self._is_asked_to_end = True
                return

    def _started(
        self, command: list[str], environment: Mapping[str, str], mask: set[int]
    ) -> "subprocess.Popen[bytes]":
        """Start a command with a signal mask.

        Not by posix_spawn, which leaves two signals of the C library ignored.
        """
        stdout, stderr = self._output
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdout=stdout,
            stderr=stderr,
            close_fds=False,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
        )

    def _resize(self, info: signal.struct_siginfo) -> None:
        """Let the output follow the terminal's size, which tells the command in its turn."""
        if info.si_signo == signal.SIGWINCH and self._capture is not None:
            self._capture.resize()

    def _pass_on(self, info: signal.struct_siginfo) -> None:
        # What the terminal sends, with a positive code, the whole process group has already; but
        # that it was closed the kernel tells the leader of the session alone, the command bare.
        is_leaders = info.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid()
        is_groups = info.si_code > 0 and not is_leaders
        reaches_it = is_groups or self._forward
        if info.si_signo in _ENDS and reaches_it and not _ignores(self.pid, info.si_signo):
            now_s, before = time.monotonic(), self._asked
            if before is None or now_s - before.at_s > ASKED_S:
                self._asked = Asked(info.si_signo, _name_of(info), now_s)
        if info.si_signo in _PASSED_ON and not is_groups and self._forward:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, info.si_signo)


def _ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal, as below `nohup`."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:")]
    return any(mask >> number - 1 & 1 for mask in masks)


def _name_of(info: signal.struct_siginfo) -> str:
    if info.si_code > 0:
        return "the terminal"
    try:
        name = Path(f"/proc/{info.si_pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:  # of another namespace, or gone
        return f"pid {info.si_pid}" if info.si_pid else "outside"
    return f"{name} (pid {info.si_pid})"


def end_like(ended: Ended) -> int:
    """End this process by the command's signal; returns the exit code where that is impossible."""
    if ended.signal is None:
        return ended.code or 0
    import resource

    # The command has dumped its core.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    number = ended.signal
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 + number

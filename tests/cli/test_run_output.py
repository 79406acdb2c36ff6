"""`realm run` keeps what a command prints, and the command meets the world as it would without."""

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.spool.output import directory_name
from tests.waiting import wait_until

from .conftest import EXECUTABLE
from .test_run import details_of, finish

pytestmark = [pytest.mark.processes]

REALM_RUN = [str(EXECUTABLE), "run", "-q", "--run-id", "r1"]
PYTHON = sys.executable
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz1234"


@pytest.fixture(autouse=True)
def temporary(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a realm that is killed leaves behind is nobody else's, and it starts no service."""
    (home / "realm.toml").write_text("[run]\nserve = false\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


def kept(home: Path, run_id: str = "r1") -> str:
    """All that was kept of a run."""
    directory = home / "runs" / directory_name(run_id)
    return "".join(path.read_text() for path in sorted(directory.glob("output*.log"), key=_start))


def _start(path: Path) -> int:
    digits = re.search(r"\d+", path.name)
    return int(digits[0]) if digits else 0


class Terminal:
    """A command in a terminal of its own, and what it shows."""

    def __init__(self, command: list[str], rows: int = 30, columns: int = 100) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execv(command[0], command)
        self.shown = b""

    def read(self) -> bool:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # all of it have ended
            return False
        self.shown += data
        return bool(data)

    def wait_for(self, text: bytes) -> None:
        while text not in self.shown:
            assert self.read(), self.shown

    def write(self, text: bytes) -> None:
        os.write(self._master, text)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> None:
        os.close(self._master)

    def end(self) -> int:
        """Read to the end; the exit status as wait gives it."""
        while self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._master)
        return os.waitstatus_to_exitcode(status)


PROGRESS = """
import os, sys, time
print([os.isatty(number) for number in (0, 1, 2)], os.get_terminal_size(1), flush=True)
for step in range(300):
    sys.stderr.write(f"\\r{step:3d}%|{'#' * (step // 10):30}| \\x1b[32mloss\\x1b[0m")
    if step % 100 == 50:
        sys.stderr.write("\\n")
        print("epoch", step, flush=True)
    sys.stderr.flush()
sys.stdout.write("a\\tb\\x00\\xff\\r\\n\\x1b[31mred\\x1b[0m no line feed")
sys.exit(5)
"""


def test_a_terminal_shows_the_same_bytes(home: Path) -> None:
    bare = Terminal([PYTHON, "-c", PROGRESS])
    assert bare.end() == 5
    under = Terminal([*REALM_RUN, "--", PYTHON, "-c", PROGRESS])
    assert under.end() == 5
    assert under.shown == bare.shown
    assert b"[True, True, True] os.terminal_size(columns=100, lines=30)" in under.shown
    lines = kept(home).splitlines()
    assert len([line for line in lines if "%|" in line]) == 3 + 1
    assert " 50%|#####" in lines[1]
    assert lines[1].endswith("| loss")
    assert lines[-1].endswith("red no line feed")


def test_rich_draws_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    code = (
        "from rich.console import Console; from rich.panel import Panel\n"
        "Console().print(Panel('[bold red]loss[/] 0.5')); Console(stderr=True).rule('end')"
    )
    bare = Terminal([PYTHON, "-c", code], columns=61)
    assert bare.end() == 0
    under = Terminal([*REALM_RUN, "--", PYTHON, "-c", code], columns=61)
    assert under.end() == 0
    assert under.shown == bare.shown
    assert b"\x1b[1;31mloss" in under.shown
    assert "\x1b" not in kept(home)


SIZES = """
import os, signal, time
told = []
signal.signal(signal.SIGWINCH, lambda *_: told.append(1))
print("ready", flush=True)
seen = os.get_terminal_size(1)
while not told or os.get_terminal_size(1) == seen:
    time.sleep(0.01)
print("now", tuple(os.get_terminal_size(1)), flush=True)
"""


def test_the_size_of_the_terminal_is_followed() -> None:
    terminal = Terminal([*REALM_RUN, "--", PYTHON, "-c", SIZES])
    terminal.wait_for(b"ready")
    terminal.resize(40, 77)
    terminal.wait_for(b"now (77, 40)")
    assert terminal.end() == 0


@pytest.mark.parametrize("prefix", ["", shlex.join([*REALM_RUN, "--"]) + " "])
def test_ctrl_z_stops_it_and_fg_goes_on(prefix: str) -> None:
    """The same with and without, in an interactive shell."""
    code = "print('be' + 'gun', flush=True); input(); print('o' + 'ver', flush=True)"
    shell = Terminal(["/bin/bash", "--norc", "--noprofile", "-i"])
    shell.write(f"{prefix}{shlex.quote(PYTHON)} -c {shlex.quote(code)}\n".encode())
    shell.wait_for(b"begun")
    shell.write(b"\x1a")
    shell.wait_for(b"Stopped")
    shell.write(b"fg\n\n")
    shell.wait_for(b"over")
    shell.write(b"exit 3\n")
    assert shell.end() == 3


MIXED = "for i in $(seq 200); do echo out $i; echo err $i >&2; done; exit 4"


def test_one_pipe_for_both_keeps_their_order(home: Path) -> None:
    bare = subprocess.run(
        ["sh", "-c", MIXED], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    under = subprocess.run(
        [*REALM_RUN, "--", "sh", "-c", MIXED],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    assert (under.stdout, under.returncode) == (bare.stdout, bare.returncode)
    assert kept(home).encode() == bare.stdout


def test_two_pipes_stay_two(home: Path) -> None:
    bare = finish(["sh", "-c", MIXED])
    under = finish([*REALM_RUN, "--", "sh", "-c", MIXED])
    assert (under.stdout, under.stderr) == (bare.stdout, bare.stderr)
    assert sorted(kept(home).splitlines()) == sorted(
        bare.stdout.splitlines() + bare.stderr.splitlines()
    )


@pytest.mark.parametrize("how", [">", ">>"])
def test_a_file_is_the_commands_own_and_is_read_along(home: Path, tmp_path: Path, how: str) -> None:
    file = tmp_path / "slurm-7.out"
    file.write_text("before\n")
    script = "readlink /proc/self/fd/1; echo err >&2; exit 3"
    realm = shlex.join([*(word for word in REALM_RUN if word != "-q"), "--", "sh", "-c", script])
    done = finish(["sh", "-c", f"{realm} {how} {file} 2>&1"])
    assert done.returncode == 3
    text = file.read_text()
    assert text.startswith("before\n") is (how == ">>")
    assert kept(home) == f"{file}\nerr\n"
    assert "run r1: failed, exit code 3" in text


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_is_inherited(device: str) -> None:
    code = "import os; os.write(2, os.readlink('/proc/self/fd/1').encode()); print('x')"
    command = [PYTHON, "-c", code]
    bare = finish(["sh", "-c", f"exec {shlex.join(command)} > {device}"])
    realm = shlex.join([*REALM_RUN, "--", *command])
    under = finish(["sh", "-c", f"exec {realm} > {device}"])
    assert (under.returncode, under.stderr) == (bare.returncode, bare.stderr)


def test_without_capture_the_command_inherits_all(home: Path) -> None:
    script = "readlink /proc/self/fd/1 /proc/self/fd/2 >&2; exit 0"
    reading, writing = os.pipe()
    inode = os.fstat(writing).st_ino
    command = [*REALM_RUN, "--no-capture", "--", "sh", "-c", script]
    done = subprocess.run(command, stdout=writing, stderr=writing, timeout=60)
    os.close(writing)
    shown = os.read(reading, 1000).decode()
    os.close(reading)
    assert done.returncode == 0
    assert shown == f"pipe:[{inode}]\n" * 2
    assert not (home / "runs").exists()


@pytest.mark.parametrize("command", ["yes", "seq 1000000", "sh -c 'seq 100; sleep 1; seq 9'"])
def test_a_reader_that_has_enough_ends_the_command_as_without(command: str) -> None:
    shell = "set -o pipefail; {} | head -1; echo ${{PIPESTATUS[0]}}"
    bare = finish(["bash", "-c", shell.format(command)])
    under = finish(["bash", "-c", shell.format(f"{shlex.join(REALM_RUN)} -- {command}")])
    assert under.stdout == bare.stdout


def test_a_command_sees_that_its_reader_has_gone_though_it_writes_nothing() -> None:
    code = "import select; p = select.poll(); p.register(1, 0); p.poll(); raise SystemExit(9)"
    process = subprocess.Popen([*REALM_RUN, "--", PYTHON, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 9


def test_a_terminal_that_has_gone_is_not_waited_for(tmp_path: Path) -> None:
    done = tmp_path / "done"
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); print('ready', flush=True)\n"
        "for number in range(100_000): print(number)\n"
        f"open({str(done)!r}, 'w').close()"
    )
    terminal = Terminal([*REALM_RUN, "--", PYTHON, "-c", code])
    terminal.wait_for(b"ready")
    terminal.hang_up()
    wait_until(done.exists)
    os.waitpid(terminal.pid, 0)


def test_what_still_has_the_output_is_not_waited_for(home: Path) -> None:
    """A second process of the command goes on, and its reader gets all of it."""
    script = "exec 3<&0; (read x <&3; echo late) & echo early; exit 3"
    process = subprocess.Popen(
        [*REALM_RUN, "--", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.wait(60) == 3
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.stdout.read() == b"early\nlate\n"
    process.stdout.close()
    assert kept(home) == "early\n"


def test_a_reader_that_waits_gets_all_and_is_waited_for(home: Path) -> None:
    """What is left would not fit into the reader's pipe: the command itself would have waited."""
    process = subprocess.Popen(
        [*REALM_RUN, "--", "sh", "-c", "seq 100000; exit 3"], stdout=subprocess.PIPE
    )
    wait_until(lambda: details_of(home, "run_ended"))
    assert process.poll() is None
    assert process.stdout is not None
    assert process.stdout.read().splitlines()[-1] == b"100000"
    assert process.wait(60) == 3
    process.stdout.close()


def test_a_signal_ends_the_waiting_for_a_reader(home: Path) -> None:
    process = subprocess.Popen(
        [*REALM_RUN, "--", "sh", "-c", "seq 100000; exit 3"], stdout=subprocess.PIPE
    )
    wait_until(lambda: details_of(home, "run_ended"))
    process.terminate()
    assert process.wait(60) == 3
    assert process.stdout is not None
    process.stdout.close()


FLOOD = """
import os, sys, time
line = b"x" * 99 + b"\\n"
print(os.getpid(), flush=True)
sys.stdin.readline()
for number in range(20_000):
    os.write(1, b"%09d" % number + line[9:])
sys.exit(7)
"""


def relay_of(supervisor: int) -> int | None:
    """The relay below a `realm run`."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == supervisor and any(word.endswith(b"/relay.py") for word in words):
            return int(path.parent.name)
    return None


def is_another(supervisor: int, relay: int) -> bool:
    return relay_of(supervisor) not in (None, relay)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


class Flood:
    """A command that prints 2 MB once it is told to."""

    def __init__(self, tmp_path: Path) -> None:
        # The exit status is what a shell above sees of the command, though realm is killed.
        self.status = tmp_path / "status"
        words = shlex.join([PYTHON, "-c", FLOOD])
        script = f"{words}; echo $? > {self.status}; exit 7"
        self.process = subprocess.Popen(
            [*REALM_RUN, "--", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.shown = self.stdout.readline()
        wait_until(lambda: relay_of(self.process.pid))
        self.relay = relay_of(self.process.pid)
        assert self.relay

    def go(self, kill: Callable[[], Any]) -> None:
        self.stdin.write(b"\n")
        self.stdin.flush()
        self.shown += self.stdout.read(300_000)
        kill()
        self.shown += self.stdout.read()
        wait_until(self.status.exists)
        wait_until(self.status.read_text)
        self.process.wait(60)
        self.stdin.close()
        self.stdout.close()

    @property
    def lost(self) -> int:
        return 20_000 * 100 - (len(self.shown) - self.shown.index(b"\n") - 1)


def test_a_relay_that_is_killed_is_replaced_and_loses_64_kib_at_most(tmp_path: Path) -> None:
    flood = Flood(tmp_path)

    def kill() -> None:
        for _ in range(3):
            relay = relay_of(flood.process.pid)
            assert relay is not None
            os.kill(relay, signal.SIGKILL)
            wait_until(partial(is_another, flood.process.pid, relay))

    flood.go(kill)
    assert flood.process.returncode == 7
    assert flood.status.read_text() == "7\n"
    assert flood.lost <= 3 * 65_536


def test_a_relay_that_cannot_live_is_replaced_by_realm_itself(tmp_path: Path) -> None:
    flood = Flood(tmp_path)

    def kill() -> None:
        for _ in range(6):
            wait_until(lambda: relay_of(flood.process.pid))
            relay = relay_of(flood.process.pid)
            assert relay is not None
            os.kill(relay, signal.SIGKILL)
            wait_until(partial(is_gone, relay))

    flood.go(kill)
    assert flood.process.returncode == 7
    assert flood.lost <= 6 * 65_536


def test_the_command_prints_on_when_realm_is_killed(tmp_path: Path) -> None:
    flood = Flood(tmp_path)
    flood.go(flood.process.kill)
    assert flood.status.read_text() == "7\n"
    assert flood.lost == 0


def test_without_both_a_write_fails_as_into_a_dead_pipe(tmp_path: Path) -> None:
    flood = Flood(tmp_path)

    def kill() -> None:
        flood.process.kill()
        assert flood.relay is not None
        os.kill(flood.relay, signal.SIGKILL)

    flood.go(kill)
    assert flood.status.read_text() == "1\n"  # BrokenPipeError, which Python makes of SIGPIPE


def test_a_file_does_not_need_either(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    done = tmp_path / "done"
    script = f"echo ready; sleep 0.5; seq 100000; touch {done}"
    with file.open("wb") as out:
        process = subprocess.Popen([*REALM_RUN, "--", "sh", "-c", script], stdout=out)
    wait_until(lambda: "ready" in file.read_text())
    assert relay_of(process.pid) is None
    process.kill()
    process.wait()
    wait_until(done.exists)
    assert len(file.read_text().splitlines()) == 100_001


def test_secrets_are_kept_nowhere(home: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----"
    script = f"echo token={TOKEN}; printf '{key}\\n' | while read -r x; do echo $x; sleep 0.2; done"
    done = finish([*REALM_RUN, "--", "sh", "-c", f"{script}; exit 3"])
    assert TOKEN in done.stdout
    (ended,) = details_of(home, "run_ended")
    for text in (kept(home), ended["output_tail"]):
        assert "[redacted]" in text
        assert TOKEN not in text
        assert "MIIEvQ" not in text
    path = home / "runs" / "r1" / "output.log"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_end_of_a_run_has_the_last_lines(home: Path) -> None:
    finish([*REALM_RUN, "--", "sh", "-c", "seq 1000; head -c 9000 /dev/zero | tr '\\0' x; exit 3"])
    (ended,) = details_of(home, "run_ended")
    lines = ended["output_tail"].splitlines()
    assert lines[:-1] == [str(number) for number in range(952, 1001)]
    assert lines[-1] == "x" * 1_021 + "…"
    assert kept(home).endswith("x…\n")


def test_lines_of_a_flood_leave_room_in_the_event(home: Path) -> None:
    code = "for n in range(100): print(n, 'ä' * 2000)"
    finish([*REALM_RUN, "--", PYTHON, "-c", code])
    (ended,) = details_of(home, "run_ended")
    assert "realm.truncated" not in ended
    assert 8_000 < len(ended["output_tail"].encode()) <= 16_384


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("raise ValueError('no labels')", "failed", "ValueError: no labels (from the output)"),
        ("raise KeyboardInterrupt", "cancelled", "SIGINT"),
        ("import traceback\ntry: 1/0\nexcept Exception: traceback.print_exc()", "completed", ""),
        ("import sys; print('Traceback, sort of'); sys.exit(3)", "failed", "exit code 3"),
    ],
)
def test_a_traceback_in_the_output_is_the_reason(
    home: Path, code: str, status: str, reason: str
) -> None:
    """Where nothing else is known: this interpreter ignores what is injected."""
    finish([*REALM_RUN, "--", PYTHON, "-I", "-c", code])
    (ended,) = details_of(home, "run_ended")
    assert ended["status"] == status
    assert ended["reason"] == (reason or "exit code 0")
    if "output" in reason:
        assert ended["evidence"]["printed"] == "ValueError: no labels"
        assert ended["evidence"]["traceback"].startswith("Traceback (most recent call last):\n")


def test_a_home_that_cannot_be_written_keeps_nothing_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("REALM_SPOOL", str(tmp_path / "file" / "spool"))
    done = finish([str(EXECUTABLE), "run", "--", "sh", "-c", "seq 1000; exit 3"])
    assert done.returncode == 3
    assert done.stdout.splitlines() == [str(number) for number in range(1, 1001)]
    assert done.stderr.count("the output is not kept") == 1


def test_a_run_is_kept_in_8_mib_with_its_beginning_and_its_end(home: Path) -> None:
    code = (
        "import os, time\n"
        f"while not os.path.exists({str(home / 'runs' / 'r1')!r}): time.sleep(0.01)\n"
        "for part in range(40):\n"
        "    print('x' * 99 + '\\n' + f'{part:03d}' * 33 + '\\n', end='' )\n"
        "    print(('y' * 8000 + '\\n') * 40, end='', flush=True)\n"
        "    time.sleep(0.15)"
    )
    finish([*REALM_RUN, "--", PYTHON, "-c", code])
    text = kept(home)
    assert len(text) <= 8 * 1024 * 1024
    assert text.startswith("x" * 99)
    assert "039" * 33 in text


def test_the_command_has_no_descriptors_of_ours() -> None:
    code = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    bare = finish([PYTHON, "-c", code])
    assert finish([*REALM_RUN, "--", PYTHON, "-c", code]).stdout == bare.stdout


def test_whoever_writes_its_input_meets_its_end() -> None:
    shell = f"yes | {shlex.join(REALM_RUN)} -- head -1; echo ${{PIPESTATUS[@]}}"
    assert finish(["bash", "-c", shell]).stdout == "y\n141 0\n"


@pytest.mark.parametrize(("inner", "lines"), [("r1", "hi\n"), ("r2", "hi\n")])
def test_a_run_within_a_run_is_kept_once_for_each(home: Path, inner: str, lines: str) -> None:
    below = [str(EXECUTABLE), "run", "-q", "--run-id", inner, "--", "echo", "hi"]
    assert finish([*REALM_RUN, "--", *below]).stdout == "hi\n"
    assert kept(home) == lines
    assert kept(home, inner) == lines


def test_output_to_a_file_within_a_run_is_kept_too(home: Path, tmp_path: Path) -> None:
    below = shlex.join([str(EXECUTABLE), "run", "-q", "--", "echo", "inside"])
    finish([*REALM_RUN, "--", "sh", "-c", f"echo above; {below} > {tmp_path / 'out'}"])
    assert sorted(kept(home).splitlines()) == ["above", "inside"]

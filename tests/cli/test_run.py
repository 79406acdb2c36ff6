"""`realm run` changes nothing for the command, and the log gets to know how it ended."""

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import EXECUTABLE

pytestmark = [pytest.mark.processes]

REALM_RUN = [str(EXECUTABLE), "run"]
PYTHON = sys.executable


def finish(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def logged(home: Path) -> list[dict[str, Any]]:
    """Everything in the log, oldest first."""
    finish([str(EXECUTABLE), "ship", "--once"])
    done = finish([str(EXECUTABLE), "query", "--jsonl", "-n", "1000"])
    return [json.loads(line) for line in done.stdout.splitlines()][::-1]


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        ("exit 0", "completed", "exit code 0"),
        pytest.param("exit 1", "failed", "exit code 1", marks=pytest.mark.long),
        ("exit 3", "failed", "exit code 3"),
        pytest.param("exit 255", "failed", "exit code 255", marks=pytest.mark.long),
        ("exit 143", "killed", "SIGTERM (exit code 143)"),
        ("kill -TERM $$", "killed", "SIGTERM"),
        ("sh -c 'kill -KILL $$'; exit $?", "killed", "SIGKILL (exit code 137), sender unknown"),
        ("kill -KILL $$", "killed", "SIGKILL, sender unknown"),
        ("kill -SEGV $$", "crashed", "SIGSEGV"),
        pytest.param("kill -ABRT $$", "crashed", "SIGABRT", marks=pytest.mark.long),
        ("kill -INT $$", "cancelled", "SIGINT"),
        pytest.param("kill -HUP $$", "killed", "SIGHUP", marks=pytest.mark.long),
        pytest.param("kill -USR1 $$", "killed", "SIGUSR1", marks=pytest.mark.long),
    ],
)
def test_it_ends_as_the_command_does_and_says_why(
    home: Path, script: str, status: str, reason: str
) -> None:
    bare = finish(["sh", "-c", script])
    under = finish([*REALM_RUN, "--run-id", "r1", "--", "sh", "-c", script])
    assert under.returncode == bare.returncode
    assert f"run r1: {status}, {reason}" in under.stderr
    started, ended = [
        event for event in logged(home) if event["kind"] in ("run_started", "run_ended")
    ]
    assert started["details"]["command"] == shlex.join(["sh", "-c", script])
    assert started["run_id"] == ended["run_id"] == "r1"
    assert (ended["details"]["status"], ended["details"]["reason"]) == (status, reason)


def test_a_run_gets_its_tags(home: Path) -> None:
    finish([*REALM_RUN, "--run-id", "r1", "--tag", "a, b", "--tag", "c", "--", "true"])
    started = next(event for event in logged(home) if event["kind"] == "run_started")
    assert started["details"]["tags"] == ["a, b", "c"]


@pytest.mark.parametrize(("name", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_started_gives_the_code_of_a_shell(name: str, code: int) -> None:
    done = finish([*REALM_RUN, "--", name])
    assert done.returncode == code
    assert done.stderr.startswith(f"realm: {name}: ")
    assert "Traceback" not in done.stderr


def test_input_and_output_are_the_commands_own() -> None:
    command = ["sh", "-c", "cat; printf '\\000\\377'; echo err >&2; test -t 1"]
    bare = subprocess.run(command, input=b"x\n", capture_output=True)
    under = subprocess.run([*REALM_RUN, "-q", "--", *command], input=b"x\n", capture_output=True)
    assert (under.stdout, under.stderr) == (bare.stdout, bare.stderr)
    assert under.returncode == bare.returncode == 1


@pytest.mark.parametrize("before", ["", "trap '' INT PIPE; ", "ulimit -c 0; "])
def test_signal_mask_and_dispositions_are_those_without_it(before: str) -> None:
    look = "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status"
    bare = finish(["sh", "-c", f"{before}exec {look}"], restore_signals=True)
    realm = shlex.join([*REALM_RUN, "-q", "--"])
    under = finish(["sh", "-c", f"{before}exec {realm} {look}"], restore_signals=True)
    blocked, ignored, caught = under.stdout.splitlines()
    expected = bare.stdout.splitlines()
    assert (blocked, caught) == (expected[0], expected[2])
    pipe = 1 << (signal.SIGPIPE - 1)  # that it was ignored before is gone with Python's start
    assert int(ignored.split()[1], 16) | pipe == int(expected[1].split()[1], 16) | pipe


TRAPS = """
import signal, sys, time
got = []
for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), lambda number, _: got.append(number))
print("ready", flush=True)
deadline = time.monotonic() + 60
while not got and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.3)
print(got, flush=True)
sys.exit(7)
"""


@pytest.mark.parametrize(
    "name",
    [
        *("SIGTERM", "SIGINT"),
        *(pytest.param(n, marks=pytest.mark.long) for n in ("SIGHUP", "SIGUSR1", "SIGUSR2")),
    ],
)
def test_a_signal_that_is_sent_to_it_reaches_the_command_once(name: str) -> None:
    process = subprocess.Popen(
        [*REALM_RUN, "-q", "--", PYTHON, "-c", TRAPS], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    number = getattr(signal, name)
    process.send_signal(number)
    assert process.stdout.readline() == f"[{int(number)}]\n"
    assert process.wait(60) == 7
    process.stdout.close()


ASKED = """
import signal, sys, time
def leave(number, frame): sys.exit(int(sys.argv[2]))
signal.signal(int(sys.argv[1]), leave)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("name", "code", "end"),
    [
        ("SIGTERM", 0, "killed, SIGTERM from pytest (pid 1) (exit code 0)"),
        ("SIGHUP", 1, "killed, SIGHUP from pytest (pid 1) (exit code 1)"),
        ("SIGINT", 1, "cancelled, SIGINT from pytest (pid 1) (exit code 1)"),
        ("SIGINT", 0, "completed, exit code 0"),
        ("SIGUSR1", 4, "failed, exit code 4"),
    ],
)
def test_an_exit_after_a_signal_that_asked_for_it_names_the_sender(
    home: Path, name: str, code: int, end: str
) -> None:
    number = int(getattr(signal, name))
    process = subprocess.Popen(
        [*REALM_RUN, "--run-id", "r1", "--", PYTHON, "-c", ASKED, str(number), str(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    mine = Path("/proc/self/comm").read_text().strip()
    assert end.replace("pytest (pid 1)", f"{mine} (pid {os.getpid()})") in errors


LEFT = {
    "dies": ("", -signal.SIGHUP, "killed", "SIGHUP"),
    "ignores it": ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", 0, "completed", "exit code 0"),
}


@pytest.mark.parametrize("case", LEFT)
def test_a_terminal_that_is_closed_reaches_the_command_as_without(home: Path, case: str) -> None:
    """The kernel tells the leader of the session alone: bare that is the command itself."""
    before, code, status, reason = LEFT[case]
    program = f"import signal, time; {before}\nprint('ready', flush=True); time.sleep(2)"
    (home / "realm.toml").write_text("[run]\nserve = false\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(EXECUTABLE, [*REALM_RUN, "--run-id", "r1", "--", PYTHON, "-c", program])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 65_536)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    (ended,) = details_of(home, "run_ended")
    assert (ended["status"], ended["reason"]) == (status, reason)


SERVES = """
import signal, sys, time
import realm_telemetry as realm
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
realm.configure()
realm.training_step(step=1, loss=0.5)
if sys.argv[1] == "complete": realm.training_completed(step=1)
print("ready", flush=True)
# Python may miss a signal that arrives just before it sleeps, until it wakes.
for _ in range(600): time.sleep(0.1)
"""


@pytest.mark.parametrize(("word", "status"), [("complete", "completed"), ("at work", "killed")])
def test_a_program_that_had_completed_its_training_is_not_called_killed(
    home: Path, word: str, status: str
) -> None:
    process = subprocess.Popen(
        [*REALM_RUN, "-q", "--run-id", "r1", "--", PYTHON, "-c", SERVES, word],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()
    finish([str(EXECUTABLE), "ship", "--once"])
    shown = finish([str(EXECUTABLE), "show", "r1", "--json"])
    run = json.loads(shown.stdout)
    assert run["status"] == status
    assert ("sender" in (run["evidence"] or {})) is (status == "killed")


def test_signals_are_kept_back_where_that_is_asked_for() -> None:
    process = subprocess.Popen(
        [*REALM_RUN, "-q", "--no-forward", "--", PYTHON, "-c", "print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_ctrl_c_in_a_terminal_reaches_the_command_once_and_it_has_the_terminal(home: Path) -> None:
    (home / "realm.toml").write_text("[run]\nserve = false\n")
    pid, terminal = pty.fork()
    if pid == 0:
        code = "import os; print(os.isatty(0), os.isatty(1), os.isatty(2))" + TRAPS
        os.execv(REALM_RUN[0], [*REALM_RUN, "-q", "--", PYTHON, "-c", code])
    shown = read_until(terminal, b"ready")
    assert b"True True True" in shown
    os.write(terminal, b"\x03")
    assert b"[2]" in read_until(terminal, b"]")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.WEXITSTATUS(status) == 7


def read_until(terminal: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        shown += os.read(terminal, 1024)
    return shown


def test_the_command_goes_on_when_it_is_killed(tmp_path: Path) -> None:
    done = tmp_path / "done"
    process = subprocess.Popen(
        [*REALM_RUN, "-q", "--", "sh", "-c", f"echo $$; sleep 1; echo x > {done}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists()
    process.stdout.close()


def test_a_home_that_cannot_be_written_costs_the_record_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("REALM_SPOOL", str(tmp_path / "file" / "spool"))
    done = finish([*REALM_RUN, "--", "sh", "-c", "echo out; exit 3"])
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "Traceback" not in done.stderr


def test_settings_that_are_wrong_cost_the_record_alone(home: Path) -> None:
    (home / "realm.toml").write_text("exit_wait = 'maybe'\n")
    done = finish([*REALM_RUN, "--", "sh", "-c", "echo out; exit 3"])
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "this run is not recorded" in done.stderr
    assert "exit_wait" in done.stderr


def test_what_the_program_emits_belongs_to_the_run(home: Path) -> None:
    code = "import realm_telemetry as realm; realm.configure(); realm.checkpoint_saved(1, 0.5)"
    done = finish([*REALM_RUN, "--name", "sweep 7/ä", "--", PYTHON, "-c", code])
    assert done.returncode == 0, done.stderr
    (saved,) = [event for event in logged(home) if event["kind"] == "checkpoint_saved"]
    assert saved["run_id"].startswith("sweep 7/ä-")
    assert f"run {saved['run_id']}: completed" in done.stderr


@pytest.mark.parametrize(
    ("options", "variable", "expected"),
    [
        (["--run-id", "r1"], "r2", "r1"),
        ([], "r2", "r2"),
        (["--run-id", "x" * 256], None, "x" * 256),
    ],
)
def test_the_id_is_the_option_or_the_variable(
    monkeypatch: pytest.MonkeyPatch, options: list[str], variable: str | None, expected: str
) -> None:
    if variable:
        monkeypatch.setenv("REALM_RUN_ID", variable)
    done = finish([*REALM_RUN, *options, "--", "sh", "-c", "printf %s $REALM_RUN_ID"])
    assert done.stdout == expected


TRAINING = """
import sys
import realm_telemetry as realm
def train(number):
    realm.training_started(model="m")
    realm.training_step(step=number, loss=1.0)
    if number == 2 and "dies" in sys.argv: import os; os._exit(3)
    realm.training_completed(step=number, loss=0.1)
"""
ONE_PROCESS = TRAINING + "realm.configure()\n[train(number) for number in (1, 2, 3)]"
A_POOL = (
    TRAINING
    + """
import multiprocessing, time
def wait_and_train(number):
    barrier.wait(); train(number)
realm.configure()
fork = multiprocessing.get_context("fork")
barrier = fork.Barrier(3)
children = [fork.Process(target=wait_and_train, args=(n,)) for n in (1, 2, 3)]
[child.start() for child in children]; [child.join() for child in children]
"""
)
OWN_WORDS = TRAINING + "realm.configure()\ntrain(int(sys.argv[1]))"
IN_TURN = f"for n in 1 2 3; do {PYTHON} train.py $n; done"
TRIED_AGAIN = f"{PYTHON} train.py 2 dies; {PYTHON} train.py 2 dies; {PYTHON} train.py 3"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param([PYTHON, "-c", ONE_PROCESS], {"r": [1], "r-2": [2], "r-3": [3]}, id="one"),
        pytest.param([PYTHON, "-c", A_POOL], {"r", "r-2", "r-3"}, id="at once"),
        pytest.param(["sh", "-c", IN_TURN], {"r": [1], "r-2": [2], "r-3": [3]}, id="in turn"),
        pytest.param(["sh", "-c", TRIED_AGAIN], {"r": [2, 2], "r-2": [3]}, id="tried again"),
    ],
)
def test_each_training_of_the_command_is_a_run(
    home: Path, tmp_path: Path, command: list[str], expected: dict[str, list[int]] | set[str]
) -> None:
    """One that died and is tried again with the same words is its next attempt."""
    (tmp_path / "train.py").write_text(OWN_WORDS)
    done = finish([*REALM_RUN, "--run-id", "r", "--", *command], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    steps: dict[str, list[int]] = {}
    for event in logged(home):
        if event["kind"] == "training_step":
            steps.setdefault(event["run_id"], []).append(event["details"]["step"])
    assert (steps if isinstance(expected, dict) else set(steps)) == expected
    assert sum(map(len, steps.values())) == 3


def test_ranks_share_the_run_of_the_command_and_count_alike(home: Path) -> None:
    """Nobody can know of the others' ends at the same moment."""
    words = 'RANK=0 "$0" -c "$1"; RANK=1 "$0" -c "$1"'
    done = finish([*REALM_RUN, "--run-id", "r", "--", "sh", "-c", words, PYTHON, ONE_PROCESS])
    assert done.returncode == 0, done.stderr
    steps = [event for event in logged(home) if event["kind"] == "training_step"]
    named = sorted((event["run_id"], event["rank"]) for event in steps)
    assert named == [(run, rank) for run in ("r", "r-2", "r-3") for rank in (0, 1)]


SPIN = "while True: pass"
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n" + SPIN


@pytest.mark.parametrize(
    ("before", "command", "code"),
    [
        ("ulimit -t 1;", [PYTHON, "-c", SPIN], -signal.SIGKILL),
        ("ulimit -t 1;", ["sh", "-c", f"{PYTHON} -c '{SPIN}'; exit $?"], 137),
        ("", [PYTHON, "-c", LIMITED], -signal.SIGKILL),
    ],
)
def test_a_command_that_used_up_its_processor_time_is_said_to_have(
    home: Path, before: str, command: list[str], code: int
) -> None:
    """Where both limits are the same the kernel ends it without a word."""
    words = f"{before} exec {shlex.join([*REALM_RUN, '--run-id', 'r', '--', *command])}"
    done = finish(["sh", "-c", words])
    assert done.returncode == code
    # On a busy machine the kernel counts too much, and ends it before.
    assert re.search(
        r"killed, (SIGKILL, probably the )?time limit of the processor", done.stderr
    ), done.stderr


def test_a_kill_below_a_limit_of_processor_time_is_not_the_limits(home: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (2, 2))"
    kill = "import os; os.kill(os.getpid(), 9)"
    done = finish([*REALM_RUN, "--", PYTHON, "-c", f"{code}\n{kill}"])
    assert "killed, SIGKILL, sender unknown" in done.stderr


@pytest.mark.parametrize("option", ["--run-id", "--name"])
def test_an_id_that_is_too_long_is_refused(option: str) -> None:
    done = finish([*REALM_RUN, option, "x" * 257, "--", "true"])
    assert done.returncode == 2
    assert "256" in done.stderr or "236" in done.stderr


def test_new_ids_are_readable_and_differ() -> None:
    script = ["sh", "-c", "printf %s $REALM_RUN_ID"]
    first, second = (finish([*REALM_RUN, "--", *script]).stdout for _ in range(2))
    assert first.startswith("sh-")
    assert first != second


BROKEN = "import sys\nprint('out')\ndef inner():\n    raise ValueError('no labels')\ninner()\n"


def details_of(home: Path, kind: str) -> list[dict[str, Any]]:
    return [event["details"] for event in logged(home) if event["kind"] == kind]


def test_an_exception_of_a_program_that_knows_nothing_of_it_is_the_reason(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program prints what it would have, and imports nothing of ours."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    script = tmp_path / "train.py"
    script.write_text(BROKEN)
    bare = finish([PYTHON, str(script)])
    under = finish([*REALM_RUN, "-q", "--", PYTHON, str(script)])
    assert (under.returncode, under.stdout, under.stderr) == (1, bare.stdout, bare.stderr)
    (ended,) = details_of(home, "run_ended")
    assert (ended["status"], ended["reason"]) == ("failed", "ValueError: no labels")
    assert ended["exit_code"] == 1
    (raised,) = details_of(home, "uncaught_exception")
    assert raised["error_type"] == "ValueError"
    assert "in inner" in raised["traceback"]
    assert list(tmp_path.glob("realm-run-*")) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise SystemExit('no data')", "exit code 1"),
        ("raise KeyboardInterrupt", "SIGINT"),
        ("import sys; sys.excepthook = lambda *_: None; raise OSError('gone')", "OSError: gone"),
        ("import os; os._exit(4)", "exit code 4"),
        ("class Odd(Exception): __str__ = None\nraise Odd", "Odd: <exception str() failed>"),
        ("e = ValueError('x'); e.add_note('a note'); raise e", "ValueError: x"),
        (
            "raise ExceptionGroup('two', [KeyError('a'), OSError()])",
            "ExceptionGroup: two (2 sub-exceptions): KeyError: 'a'",
        ),
        ("x = = 1", "SyntaxError: invalid syntax"),
    ],
)
def test_what_ends_a_program_in_other_ways_is_called_what_it_is(
    home: Path, code: str, reason: str
) -> None:
    bare = finish([PYTHON, "-c", code])
    under = finish([*REALM_RUN, "-q", "--", PYTHON, "-c", code])
    assert (under.returncode, under.stdout, under.stderr) == (
        bare.returncode,
        bare.stdout,
        bare.stderr,
    )
    (ended,) = details_of(home, "run_ended")
    assert ended["reason"] == reason


def test_whatever_lies_where_reports_do_is_not_waited_for_nor_followed(home: Path) -> None:
    code = (
        "import os\nos.chdir(os.environ['REALM_RUN_REPORTS'])\n"
        "os.mkfifo('1.json')\nos.mkdir('2.json')\nos.symlink('/dev/zero', '3.json')\n"
        "open('4.json', 'w').write('[' * 100_000)\nopen('5.json', 'w').write('[]')\n"
        "open('6.json', 'w').write('{\"time_unix_nano\": 1e400}')\n"
        "raise ValueError('half \\ud83d')"
    )
    done = finish([*REALM_RUN, "-q", "--", PYTHON, "-c", code])
    assert done.returncode == 1
    (ended,) = details_of(home, "run_ended")
    assert ended["reason"] == "ValueError: half \ufffd"


def test_what_a_program_with_telemetry_reports_itself_comes_once(home: Path) -> None:
    code = (
        "import realm_telemetry as realm\nrealm.configure()\n"
        "realm.training_step(1, 0.5)\nraise ValueError('no labels')"
    )
    finish([*REALM_RUN, "-q", "--", PYTHON, "-c", code])
    assert [each["error"] for each in details_of(home, "uncaught_exception")] == [
        "ValueError: no labels"
    ]
    assert [each["reason"] for each in details_of(home, "run_ended")] == [
        "ValueError: no labels",
        "ValueError: no labels",
    ]


def test_an_exception_that_the_command_can_bear_is_not_its_reason(home: Path) -> None:
    script = f"{shlex.quote(PYTHON)} -c 'raise ValueError' 2>/dev/null; exit 0"
    finish([*REALM_RUN, "-q", "--", "sh", "-c", script])
    (ended,) = details_of(home, "run_ended")
    assert ended["status"] == "completed"


def test_a_sitecustomize_that_was_there_before_runs_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.mine = 7\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = (
        "import sitecustomize, sys; print(mine, sitecustomize.__file__, 'inject' in str(sys.path))"
    )
    bare = finish([PYTHON, "-c", code])
    assert bare.stdout == f"7 {tmp_path / 'sitecustomize.py'} False\n"
    assert finish([*REALM_RUN, "-q", "--", PYTHON, "-c", code]).stdout == bare.stdout


@pytest.mark.parametrize("flags", [["-I"], ["-E"], ["-S"]])
def test_an_interpreter_that_ignores_it_still_has_a_status(home: Path, flags: list[str]) -> None:
    done = finish([*REALM_RUN, "-q", "--", PYTHON, *flags, "-c", "raise ValueError('x')"])
    assert done.returncode == 1
    (ended,) = details_of(home, "run_ended")
    assert (ended["status"], ended["reason"]) == ("failed", "ValueError: x (from the output)")
    assert details_of(home, "uncaught_exception") == []


def test_python_programs_are_left_as_they_are_where_that_is_asked_for(home: Path) -> None:
    code = "import os; print(os.environ.get('PYTHONPATH'), os.environ.get('REALM_RUN_REPORTS'))"
    done = finish([*REALM_RUN, "-q", "--no-inject", "--", PYTHON, "-c", code])
    assert done.stdout == "None None\n"


def test_the_exception_of_a_helper_is_not_the_reason_of_a_later_end(home: Path) -> None:
    helper = f"{shlex.quote(PYTHON)} -c 'import no_such_module' 2>/dev/null"
    finish([*REALM_RUN, "-q", "--", "sh", "-c", f"{helper}; sleep 1.5; exit 3"])
    (ended,) = details_of(home, "run_ended")
    assert ended["reason"] == "exit code 3"
    assert details_of(home, "uncaught_exception") == []


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_closed_streams_change_nothing(closed: str) -> None:
    realm = shlex.join(REALM_RUN)
    command = f"{{ {realm} -- sh -c 'echo hi; exit 3'; }} {closed}"
    bare = finish(["sh", "-c", f"{{ sh -c 'echo hi; exit 3'; }} {closed}"])
    under = finish(["sh", "-c", command])
    assert (under.returncode, under.stdout) == (bare.returncode, bare.stdout)


def test_a_script_without_a_first_line_runs_as_in_a_shell(tmp_path: Path) -> None:
    script = tmp_path / "train"
    script.write_text("echo hi; exit 4\n")
    script.chmod(0o755)
    done = finish([*REALM_RUN, "-q", "--", str(script)])
    assert (done.returncode, done.stdout) == (4, "hi\n")


def test_a_directory_that_was_deleted_is_no_hindrance(home: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    realm = shlex.join(REALM_RUN)
    done = finish(["sh", "-c", f"cd {gone} && rmdir {gone} && exec {realm} -- sh -c 'exit 3'"])
    assert done.returncode == 3
    (ended,) = details_of(home, "run_ended")
    assert ended["reason"] == "exit code 3"

"""How a run ends with its process, and exceptions that nobody catches."""

import sys
import threading
from pathlib import Path

import pytest

import realm_telemetry as realm
from realm_telemetry.producer import uncaught
from realm_telemetry.values.exceptions import MAX_FRAMES

from .programs import HEAD, Ended, program, script
from .test_emit import spooled

TRAIN = "realm.training_step(step=3, loss=1.0)\n"


def end(ended: Ended) -> tuple[str, str | None, str]:
    """Status, reason and severity of the only end of a run."""
    event = ended.one("run_ended")
    return event.details["status"], event.details.get("reason"), event.severity


@pytest.mark.processes
def test_a_normal_exit_completes_the_run(tmp_path: Path) -> None:
    ended = program(tmp_path, TRAIN)
    assert end(ended) == ("completed", None, "success")
    details = ended.one("run_ended").details
    assert (details["last_step"], details["evidence"]) == (3, {"exit": "normal"})
    assert "exit_code" not in details, "sys.exit cannot be seen from inside"


@pytest.mark.processes
def test_an_exception_of_the_main_thread_fails_the_run(tmp_path: Path) -> None:
    ended = program(tmp_path, TRAIN + "class Odd(ValueError): pass\nraise Odd('text')")
    assert ended.code == 1
    assert ended.errors.count("Odd: text") == 1
    assert end(ended) == ("failed", "Odd: text", "error")
    event = ended.one("uncaught_exception")
    assert event.severity == "error"
    assert event.run_id == ended.one("run_started").run_id
    assert event.details["error"] == "Odd: text"
    assert event.details["error_type"] == "__main__.Odd"
    assert event.details["thread"] == "MainThread"
    assert event.details["ends_process"] is True
    assert event.details["traceback"].startswith("Traceback (most recent call last):\n")
    assert event.details["traceback"].endswith("Odd: text\n")


@pytest.mark.processes
def test_a_long_traceback_keeps_its_end(tmp_path: Path) -> None:
    ended = program(tmp_path, "raise ValueError('x' * 15_000 + 'y' * 5_000)")
    text = ended.one("uncaught_exception").details["traceback"]
    assert len(text) == 16_000
    assert text.endswith("y" * 5_000 + "\n")
    assert ended.of("run_ended") == [], "nothing was trained"


@pytest.mark.processes
def test_of_a_traceback_of_many_frames_the_last_are_read(tmp_path: Path) -> None:
    """Reading all of a recursion without a limit holds up the end of the program for a minute."""
    code = TRAIN + (
        "sys.setrecursionlimit(20_000)\n"
        "def f(n): g(n + 1) if n < 5_000 else 1 / 0\n"
        "def g(n): f(n + 1)\n"
        "import realm_telemetry.values.exceptions as exceptions\n"
        "try: f(0)\n"
        "except ZeroDivisionError as error: print(exceptions.traceback_text(error).count('File'))\n"
    )
    ended = program(tmp_path, code)
    assert ended.output == f"{MAX_FRAMES}\n"


@pytest.mark.processes
def test_a_keyboard_interrupt_cancels_the_run_and_is_no_exception(tmp_path: Path) -> None:
    ended = program(tmp_path, TRAIN + "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)")
    assert end(ended) == ("cancelled", "KeyboardInterrupt", "warning")
    assert ended.of("uncaught_exception") == []
    assert ended.code == -2


@pytest.mark.processes
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            "RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')",
            "CUDA out of memory: Tried to allocate 2 GiB",
        ),
        (
            "RuntimeError('CUDA error: out of memory\\nCUDA kernel errors might be asynchronously"
            " reported at some other API call.\\nFor debugging consider CUDA_LAUNCH_BLOCKING=1')",
            "CUDA out of memory",
        ),
        ("MemoryError('host')", "MemoryError: host"),
        (
            "ExceptionGroup('both', [ExceptionGroup('in', [KeyError('a')]), TypeError('b')])",
            "ExceptionGroup: both (2 sub-exceptions): KeyError: 'a'",
        ),
    ],
)
def test_memory_of_the_gpu_that_is_full_is_said(tmp_path: Path, error: str, reason: str) -> None:
    assert end(program(tmp_path, TRAIN + f"raise {error}")) == ("failed", reason, "error")


@pytest.mark.processes
def test_the_exception_of_a_thread_is_reported_and_fails_only_its_own_run(tmp_path: Path) -> None:
    code = (
        "def work(): {train}raise ValueError('of a thread')\n"
        "t = threading.Thread(target=work, name='trainer'); t.start(); t.join()\n"
    )
    other = program(tmp_path / "a", TRAIN + code.format(train=""))
    assert other.one("uncaught_exception").details["thread"] == "trainer"
    assert end(other) == ("completed", None, "success")
    own = program(tmp_path / "b", code.format(train=TRAIN.strip() + "; "))
    assert end(own) == ("failed", "ValueError: of a thread", "error")


@pytest.mark.processes
def test_a_training_whose_thread_died_is_over_when_steps_cease(tmp_path: Path) -> None:
    """Steps of another thread say that it went on; the next training is another run."""
    head = (
        "def work(): realm.training_started(); realm.log({'a': 1}); raise ValueError('dead')\n"
        "t = threading.Thread(target=work); t.start(); t.join()\n"
    )
    goes_on = program(tmp_path / "a", head + "realm.log({'a': 1})\n")
    assert end(goes_on)[0] == "completed"
    again = program(tmp_path / "b", head + "realm.training_started(); realm.training_completed()\n")
    ends = [event.details["status"] for event in again.of("run_ended")]
    assert ends == ["failed", "completed"]
    assert len({event.run_id for event in again.of("run_started")}) == 2


@pytest.mark.processes
def test_a_thread_that_exits_is_not_reported(tmp_path: Path) -> None:
    ended = program(
        tmp_path, "t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()\n"
    )
    assert (ended.code, ended.events, ended.errors) == (0, [], "")


@pytest.mark.processes
def test_what_a_finalizer_raises_is_a_warning_and_ends_nothing(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        TRAIN + "class Odd:\n    def __del__(self): raise ValueError('late')\nOdd()\n",
    )
    event = ended.one("uncaught_exception")
    assert event.severity == "warning"
    assert event.details["unraisable"].endswith("Odd.__del__")
    assert end(ended)[0] == "completed"
    assert ended.errors.count("ValueError: late") == 1


@pytest.mark.processes
@pytest.mark.parametrize("when", ["before", "after"])
def test_another_hook_is_called_once_and_hides_nothing(tmp_path: Path, when: str) -> None:
    hook = "sys.excepthook = lambda *given: print('theirs', len(given))\n"
    configure = "realm.configure(home=HOME, shipper='none')\n"
    both = hook + configure if when == "before" else configure + hook
    ended = program(tmp_path, both + TRAIN + "raise ValueError('bad')", setup=HEAD)
    assert ended.output == "theirs 3\n"
    assert len(ended.of("uncaught_exception")) == 1
    assert end(ended) == ("failed", "ValueError: bad", "error")


@pytest.mark.processes
def test_a_program_that_calls_the_hook_itself_goes_on(tmp_path: Path) -> None:
    """Its run too; the exception that ends it later is another one."""
    code = TRAIN + (
        "for name in 'ab':\n"
        "    try: raise ValueError(name)\n"
        "    except ValueError: sys.excepthook(*sys.exc_info())\n"
    )
    ended = program(tmp_path / "a", code)
    assert end(ended)[0] == "completed"
    assert len(ended.of("uncaught_exception")) == 2
    assert end(program(tmp_path / "b", code + "raise KeyError('c')"))[1] == "KeyError: 'c'"


@pytest.mark.processes
def test_a_shutdown_at_exit_knows_the_exception_too(tmp_path: Path) -> None:
    """Also where the program registered it, and another hook was in the place of ours."""
    code = "import atexit; atexit.register(realm.shutdown); sys.excepthook = print\n"
    assert end(program(tmp_path, code + TRAIN + "raise ValueError('x')"))[0] == "failed"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("last", "code", "reason"),
    [
        ("raise ValueError('child')", 1, "ValueError: child"),
        ("sys.exit(7)", 7, "exit code 7"),
        ("sys.exit(0)", 0, None),
    ],
)
def test_a_child_of_multiprocessing_says_how_it_ended(
    tmp_path: Path, last: str, code: int, reason: str | None
) -> None:
    ended = program(
        tmp_path,
        "import multiprocessing as mp\n"
        f"def work(): {TRAIN.strip()}; {last}\n"
        "p = mp.get_context('fork').Process(target=work); p.start(); p.join()\n"
        "sys.exit(p.exitcode)",
    )
    assert ended.code == code
    assert end(ended)[:2] == ("failed" if code else "completed", reason)
    assert len(ended.of("uncaught_exception")) == ("ValueError" in last)


@pytest.mark.processes
def test_an_interactive_interpreter_goes_on_after_an_exception(tmp_path: Path) -> None:
    ended = program(tmp_path, "sys.ps1 = '> '\n" + TRAIN + "raise ValueError('typed')")
    assert "ends_process" not in ended.one("uncaught_exception").details
    assert end(ended)[0] == "completed"
    cell = "import builtins; builtins.get_ipython = object; sys.last_value = ValueError('cell')\n"
    notebook = program(tmp_path / "notebook", TRAIN + cell)
    assert end(notebook)[0] == "completed"
    assert notebook.of("uncaught_exception") == []


CONFIGURE = "realm.configure(home=HOME, shipper='none')\n"
INTERACTIVE = ("-i",)
DEBUGGER = ("-m", "pdb", "-c", "continue")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("options", "typed"),
    [(INTERACTIVE, "exit()\n"), (INTERACTIVE, ""), (DEBUGGER, "q\n"), (DEBUGGER, "")],
)
def test_a_script_that_raises_before_a_prompt_fails_its_run(
    tmp_path: Path, options: tuple[str, ...], typed: str
) -> None:
    """The process goes on for the person who looks into it, and leaves with 0."""
    code = CONFIGURE + TRAIN + "raise ValueError('bad')\n"
    ended = script(tmp_path / "train.py", code, tmp_path / "home", *options, typed=typed)
    assert end(ended) == ("failed", "ValueError: bad", "error")
    assert "ends_process" not in ended.one("uncaught_exception").details


@pytest.mark.processes
def test_what_is_typed_at_the_prompt_after_a_script_ends_nothing(tmp_path: Path) -> None:
    """A step that is typed there belongs to another run than the one that had failed."""
    where = tmp_path / "train.py", CONFIGURE + TRAIN, tmp_path / "well"
    assert end(script(*where, *INTERACTIVE, typed="1/0\n"))[0] == "completed"
    where = tmp_path / "train.py", CONFIGURE + TRAIN + "raise ValueError('bad')\n", tmp_path / "bad"
    again = script(*where, *INTERACTIVE, typed="realm.log({'loss': 1})\n")
    assert [each.details["status"] for each in again.of("run_ended")] == ["failed", "completed"]


@pytest.mark.processes
def test_whoever_leaves_the_debugger_cancels_the_run(tmp_path: Path) -> None:
    code = CONFIGURE + TRAIN + "breakpoint()\nprint('more')\n"
    ended = script(tmp_path / "train.py", code, tmp_path / "home", typed="q\n")
    assert ended.code == 1
    assert end(ended) == ("cancelled", "the debugger was left", "warning")
    assert ended.of("uncaught_exception") == []


def test_hooks_are_put_back_and_do_nothing_after_shutdown(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = sys.excepthook
    calls: list[object] = []
    monkeypatch.setattr(ours, "previous", lambda *given: calls.append(given))
    displaced = threading.excepthook
    threading.excepthook = lambda given: displaced(given)
    realm.shutdown(0)
    assert sys.excepthook is not ours
    error = ValueError("late")
    ours(ValueError, error, None)
    assert calls == [(ValueError, error, None)]
    assert [event.kind for event in spooled(producer)] == []
    threading.excepthook = threading.__excepthook__


def test_a_hook_that_fails_is_noticed_by_nobody(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(sys.excepthook, "previous", lambda *given: calls.append(given))
    monkeypatch.setattr(uncaught, "traceback_text", lambda *given: 1 / 0)
    sys.excepthook(ValueError, ValueError("x"), None)
    assert len(calls) == 1


def test_exceptions_of_finalizers_are_bounded(producer: realm.Telemetry) -> None:
    class Given:
        exc_type, exc_value, exc_traceback = ValueError, ValueError("again"), None
        err_msg, object = None, uncaught

    hook = next(hook for hook in uncaught._hooks if hook is sys.unraisablehook)
    hook.previous = lambda given: None
    for _ in range(uncaught.MAX_REPORTS + 1):
        hook(Given)
    assert len(spooled(producer)) == uncaught.MAX_REPORTS

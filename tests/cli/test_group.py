"""The program itself: help, names, home, start-up."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from realm_telemetry.cli.group import SUMMARIES, RealmGroup, realm
from realm_telemetry.cli.problems import EXIT_INTERRUPTED, EXIT_PROBLEM
from realm_telemetry.version import __version__

from .conftest import EXECUTABLE, run_realm

Invoke = Callable[..., Result]


def test_the_help_names_every_command_and_what_it_does(invoke: Invoke) -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for name, summary in SUMMARIES.items():
        assert f"  {name} " in result.output
        assert summary in result.output


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_is_the_first_line_of_the_commands_own_help(name: str) -> None:
    command = realm.get_command(click.Context(realm), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").splitlines()[0] == SUMMARIES[name]


def test_the_help_imports_nothing_heavy() -> None:
    heavy = ("rich", "httpx", "sqlite3", "starlette", "opentelemetry", "google.protobuf")
    program = (
        "import sys; from realm_telemetry.cli import main; code = main(['--help']);"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stderr.strip() == "[]"


def test_emit_imports_neither_log_nor_http() -> None:
    program = (
        "import sys; from realm_telemetry.cli import main; code = main(['emit', 'note', 'x']);"
        "print([name for name in ('rich', 'httpx', 'sqlite3') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_without_arguments_the_help_is_shown() -> None:
    result = run_realm()
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: realm")


@pytest.mark.parametrize(("typed", "meant"), [("tial", "tail"), ("docter", "doctor")])
def test_an_unknown_command_suggests_the_nearest(invoke: Invoke, typed: str, meant: str) -> None:
    result = invoke(typed)
    assert result.exit_code == 2
    assert f"Did you mean {meant}?" in result.stderr


def test_an_unknown_command_like_no_other_lists_them(invoke: Invoke) -> None:
    assert "There are run, serve, up, down, demo" in invoke("xyzzy").stderr


def test_the_module_is_the_same_program() -> None:
    command = [sys.executable, "-m", "realm_telemetry", "--version"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout == f"realm {__version__}\n"
    assert run_realm("--version").stdout == result.stdout


def test_it_is_installed_under_a_second_name() -> None:
    """For machines where another program is called realm."""
    command = [str(EXECUTABLE.with_name("realm-telemetry")), "--version"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout == f"realm {__version__}\n"


@pytest.mark.parametrize("before", [True, False])
def test_the_home_may_be_named_before_and_behind_the_command(
    invoke: Invoke, filled: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setenv("REALM_HOME", str(filled.parent / "elsewhere"))
    option = ("--home", str(filled))
    result = invoke(*option, "query", "-n1") if before else invoke("query", "-n1", *option)
    assert result.exit_code == 0
    assert "of 30 events" in result.stderr


def test_a_shell_can_complete_commands_and_filter_values() -> None:
    environment = {"_REALM_COMPLETE": "bash_complete", "PATH": "/usr/bin"}
    for words, place, wanted in (
        ("realm do", "1", "doctor"),
        ("realm tail --channel training,che", "3", "training,checkpoint"),
    ):
        completing = environment | {"COMP_WORDS": words, "COMP_CWORD": place}
        assert wanted in run_realm(env=completing).stdout


@pytest.mark.parametrize(
    ("cause", "code"), [(KeyboardInterrupt, EXIT_INTERRUPTED), (EOFError, EXIT_PROBLEM)]
)
@pytest.mark.parametrize("prompt", [False, True])
def test_only_ctrl_c_ends_as_interrupted(
    cause: type[BaseException], code: int, prompt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """click raises the same Abort for both, in a command and in its prompts."""

    def stopped(*_: object, **__: object) -> str:
        raise cause

    @click.command()
    def asking() -> None:
        click.prompt("Name") if prompt else stopped()

    monkeypatch.setattr("click.termui.visible_prompt_func", stopped)
    monkeypatch.setattr(RealmGroup, "get_command", lambda *_: asking)
    with pytest.raises(SystemExit) as end:
        realm.main(["kinds"])
    assert end.value.code == code


def test_a_question_answered_with_no_is_no_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def asking() -> None:
        click.confirm("Sure", abort=True)

    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: "n")
    monkeypatch.setattr(RealmGroup, "get_command", lambda *_: asking)
    with pytest.raises(SystemExit) as end:
        realm.main(["kinds"])
    assert end.value.code == EXIT_PROBLEM
    assert "realm: " in capsys.readouterr().err


INTERRUPTED_IMPORT = """
import sys

class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "realm_telemetry.cli.group":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
from realm_telemetry.cli import main
sys.exit(main(["runs"]))
"""


def test_ctrl_c_while_modules_are_imported_leaves_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

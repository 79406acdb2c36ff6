"""docs/cli.md is true, and every example in the help runs."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

from realm_telemetry.cli.command import RealmCommand
from realm_telemetry.cli.group import SUMMARIES, realm
from realm_telemetry.cli.problems import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE
from realm_telemetry.home import running_service
from realm_telemetry.log.fields import FILTER_NAMES
from realm_telemetry.spool.output import KeptOutput
from realm_telemetry.transfer.exports import export_events

from .conftest import Running

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in TEXT.split("\n## ")[1:]}
FILTERS = {f"--{name}" for name in FILTER_NAMES}
ANY_PORTS = " --port 0 --battle-log-port 0 --ui-port 0"


def command_of(name: str) -> RealmCommand:
    command = realm.get_command(click.Context(realm), name)
    assert isinstance(command, RealmCommand)
    return command


def options_of(command: click.Command) -> set[str]:
    """The options of a command and of those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return _own_options(command).union(*map(options_of, below))


def examples_of(command: click.Command) -> list[str]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = [line for line, _ in getattr(command, "examples", ())]
    return own + [line for each in below for line in examples_of(each)]


def _own_options(command: click.Command) -> set[str]:
    named = (param for param in command.params if isinstance(param, click.Option))
    return {name for param in named for name in (*param.opts, *param.secondary_opts)}


def documented(section: str) -> set[str]:
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `-")]
    both = " ".join(line for line in section.splitlines() if line.startswith("| `-"))
    first = {name for cell in cells for name in re.findall(r"`(--?[a-z][a-z-]*)", cell)}
    return first | {"--round-trip"} if "`--round-trip`" in both else first


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_commands_options_are_those_that_are_documented(name: str) -> None:
    options = options_of(command_of(name)) - {"--home", "--utc"}
    takes_filters = options >= FILTERS
    assert documented(SECTIONS[f"realm {name}"]) == options - (FILTERS if takes_filters else set())
    assert ("[filters](#filters)" in SECTIONS[f"realm {name}"]) is takes_filters


def test_filters_and_common_options_are_documented() -> None:
    assert documented(SECTIONS["Filters"]) == FILTERS
    assert documented(SECTIONS["For all commands"]) == {
        "--home",
        "--utc",
        "--help",
        "-h",
        "--version",
    }


def test_every_command_is_documented_in_the_order_of_the_help() -> None:
    named = [title.removeprefix("realm ") for title in SECTIONS if title.startswith("realm ")]
    assert named == list(SUMMARIES)


def test_the_exit_codes_are_documented() -> None:
    codes = re.findall(r"^\| (\d+) \|", SECTIONS["For all commands"], re.MULTILINE)
    assert [int(code) for code in codes] == [0, EXIT_PROBLEM, EXIT_USAGE, EXIT_INTERRUPTED]


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_documented_examples_are_those_of_the_help(name: str) -> None:
    block = re.search(r"```sh\n(.*?)```", SECTIONS[f"realm {name}"], re.DOTALL)
    assert block is not None
    assert block[1].splitlines() == examples_of(command_of(name))


WITH_A_SERVICE = ("realm replay", "realm hosts")
WITH_A_DATABASE = ("realm log move",)
"""Run by tests/transfer/test_log_move.py."""
WITH_A_RECEIVER = "http://127.0.0.1:9000/hook"
READING = tuple(
    f"realm {name}"
    for name in (
        "alerts", "compare", "exporters", "kinds", "login", "logs", "query", "report", "runs",
        "show", "state", "stats", "tail", "watch", "webhooks",
    )
)  # fmt: skip
"""These start nothing, so they run in this process. That the executable starts, the others show."""
OF_A_SHELL = "|<>~$&;"
ENDLESS = ("realm serve", "realm tail -f", "realm demo")
EXAMPLES = [line for name in SUMMARIES for line in examples_of(command_of(name))]
STARTS = [line for line in EXAMPLES if line.startswith("realm up") and "--install" not in line]
SHORT = [
    line
    for line in EXAMPLES
    if not line.startswith((*ENDLESS, *WITH_A_SERVICE, *WITH_A_DATABASE)) and line not in STARTS
]


@pytest.fixture
def receiver() -> Iterator[str]:
    """The address of a program that takes messages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
        server.shutdown()
        thread.join()


class Taker(BaseHTTPRequestHandler):
    """Takes every message."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def lab(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: str) -> Path:
    """A directory with the files that examples name, and a home with the target they name."""
    (filled / "realm.toml").write_text(
        f'[options.webhook.targets.phone]\nurl = "{receiver}"\nprivate = true\n'
    )
    lab = tmp_path / "lab"
    for name in ("status", "old"):
        (lab / name).mkdir(parents=True)
    (lab / "status" / "events.jsonl").write_text(
        '{"ts": "2025-11-29T10:00:00.123456", "kind": "job_started", "job_id": "j1"}\n'
    )
    (lab / "train.py").write_text("print('trained')\n")
    (lab / "train.sh").write_text("#!/bin/sh\n")
    (lab / "train.sh").chmod(0o755)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    older = {
        "jobs.db": "CREATE TABLE battle_log (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT,"
        " channel TEXT, source TEXT, severity TEXT, hero_id TEXT, campaign_id TEXT, message TEXT,"
        " details_json TEXT)",
        "realm_state.db": "CREATE TABLE events (id TEXT PRIMARY KEY, timestamp TEXT, kind TEXT,"
        " channel TEXT, severity TEXT, message TEXT, icon TEXT, details TEXT)",
    }
    for name, table in older.items():
        with closing(sqlite3.connect(lab / "old" / name)) as connection:
            connection.execute(table)
    export_events(lab / "events.jsonl.gz", home=filled)
    printed = KeptOutput(filled, "r7")
    printed.append(["step 1 loss 0.5"])
    printed.close()
    return lab


@pytest.mark.parametrize("line", SHORT)
def test_an_example_runs(
    line: str, lab: Path, receiver: str, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The port may be somebody's here.
    line = line.replace(WITH_A_RECEIVER, receiver)
    if line.startswith(READING) and not set(line) & set(OF_A_SHELL):
        monkeypatch.chdir(lab)
        read = invoke(*shlex.split(line)[1:])
        assert read.exit_code == 0, read.output
        return
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=90, cwd=lab
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line.startswith(WITH_A_SERVICE)])
def test_an_example_runs_where_a_service_does(line: str, service: str, filled: Path) -> None:
    line = line.replace("http://127.0.0.1:9866", service)
    environment = {**os.environ, "REALM_SERVICE_URL": service}
    with exporting() if "--to jsonl" in line else nullcontext():
        result = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, timeout=90, env=environment
        )
    assert result.returncode == 0, result.stderr


@contextmanager
def exporting() -> Iterator[None]:
    """A program that goes on: its exporter can deliver again, while it follows the log."""
    code = (
        "import sys, realm_telemetry as realm\n"
        "realm.configure(service_name='x', exporters=['battle_log', 'jsonl'])\n"
        "realm.note(message='one'); print(realm.flush(60), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "True\n"
        yield
        program.communicate(timeout=60)


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line.startswith("realm serve")])
def test_an_example_serves_until_ctrl_c(
    line: str, filled: Path, start: Callable[..., Running]
) -> None:
    # The last of an option counts; the ports of the examples may be somebody's here.
    environment = {**os.environ, "HOME": str(filled)}
    (filled / ".realm-token").write_text("open-sesame")
    running = start(shell=f"exec {line}{ANY_PORTS}", env=environment)
    running.wait_for("  log  ")
    assert running.interrupt() == 0


COMPLETION = re.findall(r"^(?:eval )?.*_REALM_COMPLETE.*$", TEXT, re.MULTILINE)
PYTHON = re.findall(r"^In Python: `(.*)`\.$", TEXT, re.MULTILINE)


def test_completion_is_set_up_as_printed_and_completes() -> None:
    bash = next(line for line in COMPLETION if "bash_source" in line).partition("#")[0]
    asks = "COMP_WORDS=(realm ta) COMP_CWORD=1; _realm_completion realm; echo ${COMPREPLY[@]}"
    result = subprocess.run(["bash", "-c", f"{bash}\n{asks}"], capture_output=True, text=True)
    assert result.stdout.strip() == "tail", result.stderr
    assert len(COMPLETION) == 3


def test_the_query_of_stats_runs_in_any_client(filled: Path) -> None:
    query = re.search(r"```sql\n(.*?)```", SECTIONS["realm stats"], re.DOTALL)
    assert query is not None
    with closing(sqlite3.connect(filled / "vault" / "jobs.db")) as connection:
        counts = {channel: count for channel, count, _ in connection.execute(query[1])}
    assert counts == {"checkpoint": 9, "jobs": 1, "training": 20}


@pytest.mark.parametrize("line", PYTHON)
def test_a_line_of_python_runs(line: str, lab: Path, service: str) -> None:
    name = re.match(r"[\w.]+(?=\()", line)
    assert name is not None
    program = f"import {name[0].rpartition('.')[0]}\n{line}\n"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=90, cwd=lab
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("line", STARTS)
def test_an_example_starts_a_service(line: str, filled: Path) -> None:
    line = f"{line}{ANY_PORTS}" if " -- " in line else f"{line} --{ANY_PORTS}"
    result = subprocess.run(f"{line} && realm down", shell=True, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert running_service(filled) is None


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line.startswith("realm tail -f")])
def test_an_example_follows_until_ctrl_c(
    line: str, filled: Path, start: Callable[..., Running]
) -> None:
    running = start(shell=f"exec {line}")
    running.wait_for("Checkpoint 29,000 saved")
    assert running.interrupt() == 0


@pytest.mark.long
@pytest.mark.parametrize("line", [line for line in EXAMPLES if line.startswith("realm demo")])
def test_an_example_of_the_demo_runs(
    line: str, tmp_path: Path, start: Callable[..., Running]
) -> None:
    running = start(shell=f"exec {line} --quick{ANY_PORTS}", cwd=tmp_path)
    if "--endings" in line:
        assert running.process.wait(100) == 0
        assert (tmp_path / ".demo" / "endings" / "vault" / "jobs.db").exists()
    elif "--framework" in line and not find_spec("transformers"):
        # Where the framework is, tests/frameworks runs it.
        assert running.process.wait(100) == EXIT_USAGE
    elif "--once" in line:
        assert running.process.wait(100) == 0
        assert (tmp_path / ".demo" / "realm" / "vault" / "jobs.db").exists()
    else:
        running.wait_for("checkpoint_saved", 60.0)
        assert running.interrupt() == 0

"""Producers, shippers and services as real processes of one tree, and what their files hold."""

import fcntl
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx

from tests.ports import free_port
from tests.waiting import wait_until

from .trees import Tree

SCRIPT: Final = Path(__file__).parent / "emitting.py"


class Producer:
    """A process that emits as it is asked to."""

    def __init__(self, tree: Tree, home: Path, **settings: Any) -> None:
        settings = {"home": str(home), "exporters": ["battle_log"], **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=tree.environment(XDG_RUNTIME_DIR=str(home.with_name("runtime"))),
        )
        hello = self._answer()
        assert hello["package"].startswith(str(tree.site)), "it runs other code"
        self.pipeline_dir = Path(hello["pipeline_dir"])

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        assert "failed" not in answer, answer["failed"]
        return answer

    def emit(self, count: int, **details: Any) -> list[str]:
        """Emit; the ids."""
        ids: list[str] = self.ask("emit", count=count, **details)["ids"]
        return ids

    def flush(self) -> None:
        """Flush, and check that everything was delivered."""
        answer = self.ask("flush", timeout_s=25)
        assert answer["delivered"], answer["problem"]

    def exit(self) -> None:
        """Let it end by itself."""
        errors = self.process.communicate(timeout=30)[1]
        assert self.process.returncode == 0, errors

    def end(self) -> None:
        """Kill what still runs, its shipper too."""
        self.process.kill()
        self.process.communicate()
        kill_shipper(self.pipeline_dir)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the producer ended: {self.process.communicate()[1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Service:
    """`realm serve` of a tree."""

    def __init__(self, tree: Tree, home: Path) -> None:
        self._tree, self._home = tree, home
        self.output = home.with_name(f"{home.name}-service.txt")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Start it, at the same address as before, and wait until it is ready."""
        ports = ["--port", str(self._port), "--battle-log-port", "0", "--ui-port", "0"]
        command = [sys.executable, "-P", "-m", "realm_telemetry", "--home", str(self._home)]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "serve", *ports],
                env=self._tree.environment(),
                stdout=output,
                stderr=output,
                cwd="/",
            )
        wait_until(self._ready, explain=self.output.read_text)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a route."""
        answer = httpx.get(self.url + path, params=params, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def text(self, path: str) -> str:
        """The text of a route."""
        answer = httpx.get(self.url + path, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text

    def stop(self) -> int:
        """End it as Ctrl-C does, so that it saves what it has folded; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def end(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()


def holder(pipeline_dir: Path) -> int:
    """The pid that holds a pipeline's lock; 0 if none does."""
    record = struct.Struct("hhqqi")
    try:
        descriptor = os.open(pipeline_dir / "shipper.lock", os.O_RDWR)
    except OSError:
        return 0
    try:
        asked = record.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, pid = record.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return 0 if kind == fcntl.F_UNLCK else pid


def kill_shipper(pipeline_dir: Path) -> bool:
    """Kill the process that holds a pipeline's lock; whether there was one."""
    pid = holder(pipeline_dir)
    if pid in (0, os.getpid()):
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    wait_until(lambda: holder(pipeline_dir) != pid)
    return True


def logged(home: Path, condition: str = "kind = 'note'") -> list[str]:
    """Event ids in the order of the log."""
    return [
        row[0]
        for row in rows(
            home / "vault" / "jobs.db",
            f"SELECT lower(hex(event_id)) FROM battle_log WHERE {condition} ORDER BY id",
        )
    ]


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query finds; nothing if there is no such file or table."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

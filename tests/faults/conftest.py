"""Homes, producers and services as real processes, and what is found in their logs."""

import fcntl
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.log.records import Receipt
from realm_telemetry.log.sqlite.reader import LogReader
from tests.ports import free_port
from tests.waiting import wait_until

SCRIPT = Path(__file__).parent / "emitting.py"
SLOWEST_EMIT_S = 5.0
LONGEST_EXIT_S = 15.0
"""An interpreter's end and the 2 s of `shutdown`, on a busy machine."""


class Answer(dict[str, Any]):
    """What a producer answered."""

    @property
    def ids(self) -> list[str]:
        """Of the events whose `emit` kept them."""
        ids: list[str] = self["ids"]
        return ids


class Producer:
    """A process that emits on command."""

    def __init__(self, environment: dict[str, str], **settings: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.hello = self.answer()
        self.id: str = self.hello["producer"]
        self.pipeline_dir = Path(self.hello["pipeline_dir"])

    def tell(self, do: str, **arguments: Any) -> None:
        """Give a command; `answer` waits for it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Answer:
        """What came of the last command."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the producer ended: {self.process.communicate()[1]}")
        return Answer(json.loads(line))

    def ask(self, do: str, **arguments: Any) -> Answer:
        """Give a command and wait for the answer."""
        self.tell(do, **arguments)
        return self.answer()

    def emit(self, count: int, **arguments: Any) -> Answer:
        """Emit, and check that nothing held the training process up."""
        answer = self.ask("emit", count=count, **arguments)
        assert answer["slowest_s"] < SLOWEST_EMIT_S, answer["slowest_s"]
        return answer

    def flush(self, timeout_s: float = 60.0) -> Answer:
        """Flush, and check that it kept its time."""
        answer = self.ask("flush", timeout_s=timeout_s)
        assert answer["took_s"] < timeout_s + 5.0
        return answer

    def flush_in_vain(self, *words: str) -> str:
        """Flush until the reason why nothing arrives has these words; the reason."""
        problem = ""

        def has_words() -> bool:
            nonlocal problem
            flushed = self.flush(1.0)
            assert not flushed["delivered"]
            problem = flushed["problem"]
            return all(word in problem for word in words)

        wait_until(has_words, explain=lambda: problem)
        return problem

    def exit(self) -> str:
        """Let it end by itself, in time; what it printed."""
        began = time.monotonic()
        _, shown = self.process.communicate(timeout=60)
        assert time.monotonic() - began < LONGEST_EXIT_S
        assert self.process.returncode == 0, shown
        return shown


class Service:
    """`realm serve` as a process that can be killed and started again at the same address."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self._environment = environment
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.shown = home.with_name(f"{home.name}-service.txt")

    def start(self) -> None:
        """Start, and wait until it answers."""
        ports = ["--port", str(self.port), "--battle-log-port", "0", "--ui-port", "0"]
        command = [sys.executable, "-m", "realm_telemetry", "--home", str(self.home), "serve"]
        with self.shown.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *ports], env=self._environment, stdout=output, stderr=output
            )
        wait_until(self.answers, explain=lambda: self.shown.read_text())

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a route."""
        answer = httpx.get(self.url + path, params=params, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Home:
    """A REALM_HOME with the processes that use it."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        self.path = path
        self.log_path = path / "vault" / "jobs.db"
        self.environment = environment
        self.service = Service(path, environment)
        self.producers: list[Producer] = []

    def producer(self, exporters: Sequence[str] = ("battle_log",), **settings: Any) -> Producer:
        """Start a producer."""
        settings = {"home": str(self.path), "exporters": list(exporters), **settings}
        self.producers.append(Producer(self.environment, **settings))
        return self.producers[-1]

    def logged(self, condition: str = "kind = 'note'") -> list[str]:
        """Event ids in the order of the log; none if it cannot be read."""
        if not self.log_path.exists():
            return []
        uri = f"file:{self.log_path}?mode=ro"
        database = sqlite3.connect(uri, uri=True, timeout=60)
        try:
            query = f"SELECT lower(hex(event_id)) FROM battle_log WHERE {condition} ORDER BY id"
            return [row[0] for row in database.execute(query)]
        except sqlite3.DatabaseError:
            return []
        finally:
            database.close()

    def receipts(self) -> dict[str, Receipt]:
        """Receipts by producer."""
        with LogReader(self.log_path) as reader:
            return {receipt.producer: receipt for receipt in reader.now.receipts()}

    def pipelines(self) -> set[Path]:
        """The directories of all pipelines that were in use."""
        return {producer.pipeline_dir for producer in self.producers}

    def shipper_log(self) -> str:
        """What all shippers of the home wrote down."""
        return "".join(path.read_text() for path in (self.path / "logs").glob("shipper-*.log*"))

    def end(self) -> None:
        """Kill whatever still runs."""
        self.service.kill()
        for producer in self.producers:
            producer.process.kill()
            producer.process.communicate()
        for pipeline in self.pipelines():
            kill_shipper(pipeline)


def kill_shipper(pipeline_dir: Path) -> bool:
    """Kill the shipper that holds a pipeline's lock, if one does."""
    pid = holder(pipeline_dir)
    if pid == 0:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    wait_until(lambda: holder(pipeline_dir) != pid)
    return True


def holder(pipeline_dir: Path) -> int:
    """The pid that holds the lock of a pipeline, 0 if none does."""
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


def start_shipper(pipeline_dir: Path) -> None:
    """Start a shipper beside those that the producers start."""
    command = ["-P", "-m", "realm_telemetry.shipper", "--pipeline", str(pipeline_dir)]
    subprocess.run(["setsid", "--fork", sys.executable, *command], check=True, cwd="/")


def check_once_in_order(logged: Sequence[str], *emitted: Sequence[str]) -> None:
    """Everything emitted is there, nothing twice, each producer's events in their order."""
    assert len(logged) == len(set(logged)), "an event came twice"
    for ids in emitted:
        mine = set(ids)
        assert [event_id for event_id in logged if event_id in mine] == list(ids)


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[None]:
    """Something mounted at a directory; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run(["mount", *options, str(directory)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[Callable[..., Home]]:
    """Make homes; what still runs in them at the end is killed."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REALM_", "OTEL_", "PYTEST_"))
    }
    # Where the spool goes if not in the home.
    clean["XDG_RUNTIME_DIR"] = str(tmp_path / "runtime")
    homes: list[Home] = []

    def make(name: str = "home", **environment: str) -> Home:
        homes.append(Home(tmp_path / name, clean | environment))
        return homes[-1]

    yield make
    for home in homes:
        home.end()


@pytest.fixture
def home(make_home: Callable[..., Home]) -> Home:
    """One home."""
    return make_home()

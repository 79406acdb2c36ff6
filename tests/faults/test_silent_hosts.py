"""A run on another host, which dies whole, is cut off, or is heard by a service that was away."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import Home
from .machine import Machine

pytestmark = [pytest.mark.processes]

TOKEN = "a-token-for-two-hosts"
PROGRAM = """
import sys
import realm_telemetry as realm
realm.configure(service_name="trainer", exporters=["realm_service"], run_id="r7")
realm.training_started(total_steps=9)
realm.training_step(step=1, loss=0.5)
realm.flush()
print("ready", flush=True)
sys.stdin.readline()
realm.training_completed(step=9)
"""
SILENT_S = 5.0
SHORT = f"[watch]\nhost_silent_s = {SILENT_S}\n"
MARGIN_S = 15.0
"""Heartbeats come every ten seconds, so a host may be quiet for so long before it dies."""


class Service:
    """`realm serve` for two hosts, and what it says. url: for one that reaches it at `host`."""

    def __init__(self, home: Home, host: str, settings: str) -> None:
        home.path.mkdir(exist_ok=True)
        (home.path / "realm.toml").write_text(f'{settings}[service]\nallowed_hosts = ["*"]\n')
        self._home = home
        self._port = free_port()
        self.url = f"http://{host}:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        ports = ["--port", str(self._port), "--battle-log-port", "0", "--ui-port", "0"]
        command = [sys.executable, "-m", "realm_telemetry", "--home", str(self._home.path), "serve"]
        environment = {**self._home.environment, "REALM_TOKEN": TOKEN}
        self._process = subprocess.Popen(
            [*command, "--host", "0.0.0.0", *ports], env=environment, stdout=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return self.ask("/api/runs") is not None
        except (httpx.HTTPError, AssertionError):
            return False

    def ask(self, path: str) -> Any:
        """The JSON of a route."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(f"http://127.0.0.1:{self._port}{path}", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def run(self) -> dict[str, Any]:
        """The run, as far as it is known."""
        runs = self.ask("/api/runs")["runs"]
        return dict(runs[0]) if runs else {"status": None}

    def status(self) -> Any:
        """Of the run."""
        return self.run()["status"]

    def told(self) -> Sequence[str]:
        """What was reported of hosts, oldest first."""
        found = self.ask("/api/battle_log?kind=host_lost,host_heard_again")
        return [event["kind"] for event in reversed(found)]

    def hosts(self) -> dict[str, dict[str, Any]]:
        """All hosts that it has heard."""
        return {host["host"]: host for host in self.ask("/api/hosts")["hosts"]}


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Another host."""
    made = Machine("gpu7")
    yield made
    made.kill()


@pytest.fixture
def serve(make_home: Callable[..., Home]) -> Iterator[Callable[..., Service]]:
    """Starts a service at an address."""
    made: list[Service] = []

    def start(host: str, settings: str = SHORT) -> Service:
        made.append(Service(make_home("elsewhere"), host, settings))
        made[-1].start()
        return made[-1]

    yield start
    for service in made:
        service.send(signal.SIGCONT)
        service.kill()


def train_on(
    machine: Machine, service: Service, home: Home, settings: str
) -> subprocess.Popen[str]:
    """Start the program on the other host, and wait until it trains."""
    home.path.mkdir()
    (home.path / "realm.toml").write_text(settings)
    process = machine.start([sys.executable, "-c", PROGRAM], _environment(home, service))
    _await_ready(process)
    wait_until(lambda: service.status() == "running")
    wait_until(lambda: bool(service.hosts()[machine.name]["runs"]))
    return process


def _environment(home: Home, service: Service) -> dict[str, str]:
    return {
        **home.environment,
        "REALM_HOME": str(home.path),
        "REALM_SERVICE_URL": service.url,
        "REALM_TOKEN": TOKEN,
    }


def _await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize(
    ("silent_s", "settings"),
    [(SILENT_S, SHORT), pytest.param(30.0, "", marks=[pytest.mark.long, pytest.mark.alone])],
)
def test_a_run_on_a_host_that_is_killed_whole_is_lost(
    machine: Machine,
    serve: Callable[..., Service],
    make_home: Callable[..., Home],
    silent_s: float,
    settings: str,
) -> None:
    service, home = serve(machine.here, settings), make_home("there")
    train_on(machine, service, home, settings)
    machine.kill()
    began_s = time.monotonic()
    wait_until(lambda: service.status() == "lost", silent_s + 60)
    took_s = time.monotonic() - began_s
    if not settings:
        assert took_s < silent_s + MARGIN_S
    run = service.run()
    assert run["reason"].startswith("host gpu7 silent since 20")
    assert run["ended_at"] is None
    assert service.told() == ["host_lost"]
    assert service.hosts()["gpu7"]["status"] == "lost"

    # It is started again, and its disk is read: then the run is what it really was.
    machine.boot()
    ship = [sys.executable, "-m", "realm_telemetry", "--home", str(home.path), "ship", "--once"]
    machine.start(ship, _environment(home, service)).communicate(timeout=120)
    wait_until(lambda: service.run()["ended_at"] is not None)
    assert "silent" not in service.run()["reason"]


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(False, id="it goes on"),
        pytest.param(True, id="it ended meanwhile", marks=pytest.mark.long),
    ],
)
def test_a_host_that_was_cut_off_is_heard_again_without_a_second_alert(
    machine: Machine,
    serve: Callable[..., Service],
    make_home: Callable[..., Home],
    ends: bool,
) -> None:
    service, home = serve(machine.here), make_home("there")
    process = train_on(machine, service, home, SHORT)
    machine.unplug()
    wait_until(lambda: service.status() == "lost")
    assert process.poll() is None, "the training itself is not disturbed"
    if ends:
        process.communicate("go on\n", timeout=60)
    machine.plug()
    wait_until(lambda: service.status() == ("completed" if ends else "running"))
    wait_until(lambda: service.told() == ["host_lost", "host_heard_again"])
    assert service.hosts()["gpu7"]["status"] == "live"
    if not ends:
        process.communicate("go on\n", timeout=60)
        wait_until(lambda: service.status() == "completed")
    assert service.told() == ["host_lost", "host_heard_again"]


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed and started again", "suspended"])
def test_a_service_that_was_away_takes_no_host_for_silent(
    serve: Callable[..., Service], make_home: Callable[..., Home], how: str, tmp_path: Path
) -> None:
    service, home = serve("127.0.0.1"), make_home("here")
    home.path.mkdir()
    (home.path / "realm.toml").write_text(SHORT)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=_environment(home, service),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        _await_ready(process)
        wait_until(lambda: service.status() == "running")
        wait_until(lambda: any(host["runs"] for host in service.hosts().values()))
        if how == "suspended":
            service.send(signal.SIGSTOP)
            time.sleep(SILENT_S + 2)
            service.send(signal.SIGCONT)
        else:
            service.kill()
            time.sleep(SILENT_S + 2)
            service.start()
        wait_until(lambda: any(host["runs"] for host in service.hosts().values()))
        time.sleep(SILENT_S)
        assert service.told() == []
        assert service.status() == "running"
        process.communicate("go on\n", timeout=60)
        wait_until(lambda: service.status() == "completed")
    finally:
        process.kill()
        process.communicate()

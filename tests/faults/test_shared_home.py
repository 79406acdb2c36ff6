"""One home on a network file system, and two hosts that train with it: one has the service."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.home import SERVICE
from realm_telemetry.home import shared as shared_home
from tests.ports import free_port
from tests.waiting import wait_until

from .machine import Machine

pytestmark = [pytest.mark.processes]

SETTINGS = """access = "token"
[service]
allowed_hosts = ["*"]
[watch]
host_silent_s = 5
"""
PROGRAM = """
import sys, realm_telemetry as realm
realm.configure(service_name=sys.argv[1], run_id="r7")
realm.training_started(total_steps=9)
for line in sys.stdin:
    realm.training_step(step=int(line), loss=0.5)
    print(realm.flush(120), realm.flush_problem(), flush=True)
realm.training_completed(step=9)
"""


class Cluster:
    """A shared home, this host, and another one with a disk of its own."""

    def __init__(self, at: Path) -> None:
        self.home = at / "shared"
        self.home.mkdir(mode=0o700)
        (self.home / "realm.toml").write_text(SETTINGS)
        table = f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {self.home} rw - nfs4 nas:/x rw\n"
        (at / "mounts").write_text(table)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "SLURM_"))}
        self.environment = {
            **clean,
            "REALM_HOME": str(self.home),
            "TEST_MOUNT_TABLE": str(at / "mounts"),
            "PYTHONPATH": str(Path(__file__).parent),
        }
        self.machine = Machine("gpu7")
        self.machine.start(["mount", "-t", "tmpfs", "none", "/var/tmp"], {**os.environ}).wait()
        self._service: subprocess.Popen[bytes] | None = None
        self._trainings: list[subprocess.Popen[str]] = []
        self.port = 0

    def serve(self) -> None:
        """Start the service on this host, on a new port, and wait until it says where it is."""
        self.port = free_port()
        ports = ["--port", str(self.port), "--battle-log-port", "0", "--ui-port", "0"]
        command = [sys.executable, "-m", "realm_telemetry", "serve", "--host", "0.0.0.0", *ports]
        self._service = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: str(self.port) in self.said())

    def said(self) -> str:
        """What stands in the shared service.json."""
        path = self.home / SERVICE
        return path.read_text() if path.exists() else ""

    def end_service(self, number: int) -> None:
        """End it by a signal."""
        if self._service is not None:
            self._service.send_signal(number)
            self._service.wait(60)
            self._service = None

    def train(self, name: str, *, there: bool) -> subprocess.Popen[str]:
        """Start a training on the other host, or on this one."""
        command = [sys.executable, "-c", PROGRAM, name]
        if there:
            return self.machine.start(command, self.environment)
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._trainings.append(process)
        return process

    def ask(self, path: str) -> Any:
        """The JSON of a route of the service."""
        headers = {"authorization": f"Bearer {(self.home / 'token').read_text().strip()}"}
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def hosts(self) -> set[str]:
        """The hosts that the service has heard."""
        return {each["host"] for each in self.ask("/api/hosts")["hosts"]}

    def steps(self) -> list[tuple[str, int]]:
        """All steps that the service has, by who made them."""
        found = self.ask("/api/battle_log?kind=training_step&limit=100")
        return sorted((event["source"], event["details"]["step"]) for event in found)

    def doctor(self, *, there: bool) -> dict[str, str]:
        """What `realm doctor` says of the shared home: level by message."""
        command = [sys.executable, "-m", "realm_telemetry", "doctor", "--no-round-trip", "--json"]
        if there:
            output, _ = self.machine.start(command, self.environment).communicate(timeout=120)
        else:
            output = subprocess.run(
                command, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
            ).stdout
        checks = json.loads(output)["checks"]
        return {each["message"]: each["level"] for each in checks if each["check"] == "shared home"}

    def stop(self) -> None:
        """End everything; the home of this host is removed."""
        for process in self._trainings:
            process.kill()
            process.communicate()
        self.end_service(signal.SIGKILL)
        self.machine.kill()
        with suppress(OSError):
            local = shared_home.local_roots({})[0] / "homes"
            for link in local.glob(f"*/{shared_home.LINK}"):
                if link.readlink() == self.home.resolve():
                    shutil.rmtree(link.parent, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two hosts."""
    made = Cluster(tmp_path)
    yield made
    made.stop()


def step(process: subprocess.Popen[str], number: int) -> str:
    """Let a training make a step and flush; returns what that said."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.long
def test_two_hosts_find_the_service_of_their_home(cluster: Cluster) -> None:
    cluster.serve()
    there, here = cluster.train("there", there=True), cluster.train("here", there=False)
    assert step(there, 1) == "True None"
    assert step(here, 1) == "True None"
    assert cluster.steps() == [("here", 1), ("there", 1)]
    wait_until(lambda: "gpu7" in cluster.hosts())
    for at in (True, False):
        levels = cluster.doctor(there=at)
        assert set(levels.values()) == {"ok"}, levels
    assert not list(cluster.home.rglob("*.db*")), "no SQLite on the network"
    assert not (cluster.home / "spool").exists()

    # It is killed and comes back elsewhere; what was emitted meanwhile is not lost.
    cluster.end_service(signal.SIGKILL)
    for process in (there, here):
        assert process.stdin is not None
        process.stdin.write("2\n")
        process.stdin.flush()
    cluster.serve()
    for process in (there, here):
        assert process.stdout is not None
        assert process.stdout.readline() == "True None\n"
    assert cluster.steps() == [("here", 1), ("here", 2), ("there", 1), ("there", 2)]

    # The other host dies whole while this one trains on. The service must have heard it before.
    wait_until(lambda: "gpu7" in cluster.hosts())
    cluster.machine.kill()
    wait_until(lambda: cluster.ask("/api/runs")["runs"][0]["status"] == "lost")
    assert "gpu7 silent" in cluster.ask("/api/runs")["runs"][0]["reason"]
    cluster.end_service(signal.SIGTERM)
    assert cluster.said() == ""


def test_a_broken_address_delays_and_loses_nothing(cluster: Cluster) -> None:
    there = cluster.train("there", there=True)
    (cluster.home / SERVICE).write_text("{")
    assert there.stdin is not None
    there.stdin.write("1\n")
    there.stdin.flush()
    wait_until(lambda: "problem" in cluster.doctor(there=True).values())
    assert there.poll() is None
    cluster.serve()
    assert there.stdout is not None
    assert there.stdout.readline() == "True None\n"
    assert cluster.steps() == [("there", 1)]

"""Each built-in rule fires once, and only once, for each way in which trainings end.

Real trainings, and a real service that is killed in between.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from realm_telemetry.demo.endings import EXPECTED
from realm_telemetry.log import LogReader
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import Receiver

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(400)]

SETTINGS = """
[watch]
stall_min_s = 10
disk_low_bytes = 1000000000000000
[options.webhook]
allow_hosts = ["127.0.0.1"]
[options.webhook.targets.lab]
url = "{url}"
"""

WAYS = tuple(EXPECTED)
"""Those of `realm demo --endings`."""

FIRST = {
    ("run_ended_badly", "exception"),
    ("run_ended_badly", "exit-code"),
    ("run_ended_badly", "sigkill"),
    ("stalled", "stall"),
    ("not_finite", "nan"),
}
BUSY = ("stalled", "disk_low")
"""Rules that a busy machine may give reason to for other runs too."""


class Lab:
    """A home with a service and trainings; none of them outlives the test."""

    def __init__(self, home: Path, receiver: Receiver) -> None:
        self.home, self._receiver = home, receiver
        home.mkdir(mode=0o700)
        (home / "realm.toml").write_text(SETTINGS.format(url=receiver.url()))
        self._port = free_port()
        kept = {name: text for name, text in os.environ.items() if not name.startswith("REALM_")}
        self._environment = kept | {
            "REALM_HOME": str(home),
            "REALM_SERVICE_URL": f"http://127.0.0.1:{self._port}",
            "REALM_EXPORTERS": "battle_log",
        }
        self._service: subprocess.Popen[bytes] | None = None
        self.trainings: dict[str, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        ports = ("--port", str(self._port), "--battle-log-port", "0", "--ui-port", "0")
        self._service = subprocess.Popen(
            [sys.executable, "-m", "realm_telemetry", "serve", *ports],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/ready", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def kill_service(self) -> None:
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self._service = None

    def train(self, way: str) -> None:
        self.trainings[way] = subprocess.Popen(
            [sys.executable, "-m", "realm_telemetry.demo.ending", way],
            env=self._environment | {"REALM_RUN_ID": way},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def run(self, program: str) -> int:
        """Let `realm run` run a program, as the run `supervised`."""
        command = [sys.executable, "-m", "realm_telemetry", "run", "--run-id", "supervised", "--"]
        command += [sys.executable, "-c", program]
        return subprocess.run(
            command, env=self._environment, capture_output=True, timeout=120, check=False
        ).returncode

    def messages(self) -> list[tuple[str, str]]:
        """Rule and run of each message, without those that came again with their id."""
        found = {each.headers["webhook-id"]: each.json for each in list(self._receiver.received)}
        return sorted((each["rule"], each["run"]["run_id"]) for each in found.values())

    def is_read(self) -> bool:
        """Whether the service's rules have seen all of the log."""
        with LogReader(self.home / "vault" / "jobs.db") as reader:
            return reader.now.cursors("").get("webhook") == reader.now.max_cursor()

    def end(self) -> None:
        self.kill_service()
        for training in self.trainings.values():
            training.kill()
            training.wait()


@pytest.fixture
def lab(tmp_path: Path, receiver: Receiver) -> Iterator[Lab]:
    made = Lab(tmp_path / "home", receiver)
    yield made
    made.end()


PROGRAM = """
import realm_telemetry as realm
for step in range(1, 8):
    realm.log({"loss": 1 / step}, step=step)
realm.emit("checkpoint_saved", step=7, path="/c/7")
realm.flush(timeout_s=60.0)  # its shipper runs then, as that of a longer training does
raise ValueError("bad batch")
"""


def test_an_alert_of_a_command_says_what_its_program_said(lab: Lab, receiver: Receiver) -> None:
    """The word of `realm run` is there at once; step and exception come by another way."""
    lab.serve()
    assert lab.run(PROGRAM) == 1
    wait_until(lambda: lab.messages(), explain=lab.messages)
    run = receiver.received[0].json["run"]
    assert (run["status"], run["reason"]) == ("failed", "ValueError: bad batch")
    assert (run["step"], run["checkpoint"]["path"]) == (7, "/c/7")
    assert run["lines"][-1] == "ValueError: bad batch"
    assert lab.messages() == [("run_ended_badly", "supervised")]


@pytest.mark.long
def test_each_built_in_rule_fires_once_for_each_ending_through_a_killed_service(lab: Lab) -> None:
    lab.serve()
    wait_until(lambda: (lab.home / "vault" / "jobs.db").exists())
    for way in WAYS:
        lab.train(way)
    wait_until(lambda: lab.messages(), explain=lab.messages)
    lab.kill_service()
    wait_until(lambda: all(lab.trainings[way].poll() is not None for way in WAYS if way != "stall"))
    lab.serve()
    wait_until(lambda: set(lab.messages()) >= FIRST, 120.0, explain=lab.messages)
    wait_until(lambda: "disk_low" in dict(lab.messages()), 120.0, explain=lab.messages)
    lab.kill_service()
    lab.trainings["stall"].send_signal(signal.SIGKILL)
    lab.trainings["stall"].wait()
    lab.serve()
    expected = FIRST | {("run_ended_badly", "stall")}
    wait_until(lambda: set(lab.messages()) >= expected, 120.0, explain=lab.messages)
    lab.kill_service()
    lab.serve()
    wait_until(lab.is_read)
    found = lab.messages()
    assert len(found) == len(set(found)), found
    assert {each for each in found if each[0] not in BUSY} == {
        each for each in expected if each[0] not in BUSY
    }

"""Hosts that are silent: by the service's clock alone, once, and never by its own absence."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from realm_telemetry.delivery.heartbeats import Heartbeat, RunningProcess
from realm_telemetry.event import Event, format_time
from realm_telemetry.kinds.catalog import resolve
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.service import hosts as hosts_module
from realm_telemetry.service.hosts import FORGET_LOST_S, FORGET_S, PAIR_S, FullError, Host, Hosts
from realm_telemetry.service.hosts_file import HostsFile
from realm_telemetry.values.details import MAX_EVENT_BYTES
from tests.waiting import wait_until

from .conftest import asking, free_ports, serving

A, B = "a" * 16, "b" * 16
START_NS = 1_764_374_400_000_000_000


@dataclasses.dataclass
class Clock:
    """A clock that a test moves, with a wall clock beside it."""

    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        return START_NS + int(self.now_s * 1e9)


class Lab:
    """Hosts, and the events that are made of them."""

    def __init__(self, hosts: Hosts | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.hosts = hosts or Hosts(30.0, self.clock, self.clock.wall_ns)
        self.told: list[Event] = []

    def beat(
        self, *producers: str, host: str = "gpu7", boot_id: str = "x", pipeline: str = "p"
    ) -> None:
        """A shipper is heard, with these processes of the run r1."""
        processes = [RunningProcess(each, "r1", rank=each.count("b") // 16) for each in producers]
        self.hosts.hear(Heartbeat(host, boot_id, pipeline, 10.0, processes))

    def go_on(self, seconds: float, *producers: str, **beating: str) -> None:
        """Time goes by, with a heartbeat every ten seconds if there are producers."""
        for second in range(int(seconds)):
            self.clock.now_s += 1
            if producers and second % 10 == 0:
                self.beat(*producers, **beating)
            self.look()

    def look(self) -> None:
        """What the service does each second; every process counts as open."""
        self.hosts.look(1.0)
        for host in self.hosts.silent():
            self._tell("host_lost", self.hosts.lose(host, host.by_run()))
        for host in self.hosts.returned():
            self._tell("host_heard_again", self.hosts.welcome(host))

    def _tell(self, kind: str, details: dict[str, Any]) -> None:
        channel, severity = resolve(kind)
        moment = self.clock.wall_ns()
        number = len(self.told) + 1
        event = Event(kind, channel, severity, kind, details, moment, "f" * 16, number)
        self.told.append(event)

    @property
    def kinds(self) -> list[str]:
        """What was told."""
        return [event.kind for event in self.told]

    def only(self) -> Host:
        """The one host."""
        (host,) = self.hosts
        return host

    @property
    def status(self) -> str:
        """Of the one host."""
        (shown,) = self.hosts.shown()
        return str(shown["status"])


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_host_is_lost_after_thirty_seconds_of_silence_and_only_once(lab: Lab) -> None:
    lab.go_on(100, A, B)
    assert lab.kinds == []
    lab.go_on(20)
    assert lab.kinds == []
    lab.go_on(100)
    (lost,) = lab.told
    assert lost.details == {
        "host": "gpu7",
        "boot_id": "x",
        "silent_s": 30.0,
        "last_heard": "2025-11-29T00:18:11.000000Z",
        "runs": [{"run_id": "r1", "producers": [A, B], "ranks": [0, 1]}],
    }
    assert lab.status == "lost"


def test_a_host_that_is_heard_again_is_reported_once_with_what_is_there(lab: Lab) -> None:
    lab.go_on(5, A, B)
    lab.go_on(60)
    lab.go_on(30, A)
    assert lab.kinds == ["host_lost", "host_heard_again"]
    assert lab.told[1].details["runs"] == [{"run_id": "r1", "producers": [A], "ranks": [0]}]
    assert lab.status == "live"


@pytest.mark.parametrize("run_chars", [2, 256])
def test_one_event_has_room_for_what_it_names(lab: Lab, run_chars: int) -> None:
    runs = 8 if run_chars == 2 else 1024
    many = [
        RunningProcess(f"{number:016x}", f"{number % runs}".ljust(run_chars, "🐉"), number)
        for number in range(1024)
    ]
    lab.hosts.hear(Heartbeat("gpu7", "x", "p", 10.0, many))
    lab.go_on(40)
    (lost,) = lab.told
    assert len(msgspec.json.encode(lost)) < MAX_EVENT_BYTES
    named = sum(len(run["producers"]) for run in lost.details["runs"])
    assert named >= (1024 if run_chars == 2 else 30)


def test_a_host_without_open_runs_is_never_lost(lab: Lab) -> None:
    lab.go_on(5, A)
    lab.beat()
    lab.go_on(100)
    assert lab.kinds == []
    assert lab.status == "away"


def test_a_host_that_was_not_heard_since_the_service_started_is_not_lost(lab: Lab) -> None:
    lab.go_on(100)
    assert lab.kinds == []


def test_time_in_which_the_service_stood_still_is_no_silence(lab: Lab) -> None:
    lab.go_on(5, A)
    lab.clock.now_s += 3_600  # SIGSTOP, or a machine that was suspended
    lab.look()
    lab.go_on(9)
    assert lab.kinds == []
    assert lab.status == "live"
    lab.go_on(30)
    assert lab.kinds == ["host_lost"]


def test_a_flapping_host_is_reported_once_in_ten_minutes(lab: Lab) -> None:
    for _ in range(30):
        lab.go_on(40, A)
        lab.go_on(40)
    minutes = 30 * 80 / PAIR_S
    assert lab.kinds[:4] == ["host_lost", "host_heard_again"] * 2
    assert 2 <= lab.kinds.count("host_lost") <= minutes + 1
    lab.go_on(PAIR_S)
    assert lab.kinds[-1] == "host_lost", "one that stays silent is reported all the same"


def test_each_pipeline_of_a_host_has_time_to_be_heard_again(lab: Lab) -> None:
    lab.beat(A)
    lab.beat(B, pipeline="q")
    lab.go_on(40)
    lab.beat(A)
    lab.go_on(5)
    assert lab.kinds == ["host_lost"]
    lab.beat(B, pipeline="q")
    lab.go_on(1)
    assert lab.told[1].details["runs"][0]["producers"] == [A, B]


def test_a_host_that_was_started_again_is_another_one(lab: Lab) -> None:
    lab.go_on(5, A)
    lab.go_on(100, B, boot_id="y")
    assert lab.kinds == ["host_lost"]
    statuses = [(each["boot_id"], each["status"]) for each in lab.hosts.shown()]
    assert statuses == [("x", "lost"), ("y", "live")]


def test_a_service_with_a_short_limit_waits_for_three_heartbeats() -> None:
    clock = Clock()
    lab = Lab(Hosts(1.0, clock, clock.wall_ns), clock)
    lab.go_on(5, A)
    lab.go_on(24)
    assert lab.kinds == []
    lab.go_on(5)
    assert lab.kinds == ["host_lost"]


def test_a_restarted_service_goes_on_with_what_the_log_says(lab: Lab) -> None:
    lab.go_on(5, A)
    lab.go_on(60)
    after = Lab(clock=lab.clock)
    after.hosts.restore(reversed(lab.told))
    assert after.status == "lost"
    after.go_on(60)
    assert after.kinds == []
    after.go_on(5, A)
    assert after.kinds == ["host_heard_again"]
    after.go_on(60)
    assert after.kinds == ["host_heard_again"], "one pair in ten minutes, also over a restart"
    again = Lab(clock=lab.clock)
    again.hosts.restore(reversed([*lab.told, *after.told]))
    again.go_on(1, A)
    assert again.status == "live"


def test_a_host_that_is_heard_before_the_log_was_read_is_heard_again(lab: Lab) -> None:
    lab.go_on(5, A)
    lab.go_on(60)
    after = Lab(clock=lab.clock)
    after.beat(A)
    after.hosts.restore(reversed(lab.told))
    after.go_on(1)
    assert after.kinds == ["host_heard_again"]


def test_a_host_that_dies_before_the_next_service_has_heard_it_is_lost(
    lab: Lab, tmp_path: Path
) -> None:
    """Its silence counts from the start of the service that remembers it."""
    lab.go_on(5, A)
    file = HostsFile(tmp_path / "hosts.json", "a log")
    file.save(lab.hosts.heard())
    lab.clock.now_s += 5_000
    after = Lab(clock=lab.clock)
    after.hosts.remember(file.read())
    assert after.status == "live"
    after.go_on(29)
    assert after.kinds == []
    after.go_on(2)
    assert after.kinds == ["host_lost"]
    assert after.told[0].details["last_heard"] == format_time(START_NS + 1_001 * 10**9)
    assert after.hosts.heard() == [], "the log has it from now on"
    again = Lab(clock=lab.clock)
    again.hosts.remember(file.read())
    again.hosts.restore(reversed(after.told))
    again.go_on(60)
    assert (again.kinds, again.status) == ([], "lost")
    again.go_on(5, A)
    assert again.kinds == ["host_heard_again"]


def test_a_remembered_host_that_is_heard_is_as_any_other(lab: Lab, tmp_path: Path) -> None:
    lab.go_on(5, A)
    heard = lab.hosts.heard()
    after = Lab(clock=lab.clock)
    after.hosts.remember(heard)
    after.go_on(60, A)
    assert after.kinds == []
    early = Lab(clock=lab.clock)
    early.beat(B)
    early.hosts.remember(heard)
    assert [each.producer for host in early.hosts for each in host.processes] == [B]


def test_the_file_of_hosts_harms_nothing_whatever_is_in_it(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    file = HostsFile(path, "a log")
    assert file.read() == []
    lab.go_on(1, A)
    file.save(lab.hosts.heard())
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(file.read()) == 1
    assert HostsFile(path, "another log").read() == []
    for content in (b"", b"[]", b"\xff", b'{"log_id": 1}', b"[" * 100_000):
        path.write_bytes(content)
        assert file.read() == []
    HostsFile(tmp_path / "gone" / "hosts.json", "a log").save(lab.hosts.heard())


def test_events_of_others_under_the_same_name_harm_nothing(lab: Lab) -> None:
    channel, severity = resolve("host_lost")
    details: list[Mapping[str, Any]] = [
        {},
        {"host": 7, "runs": 7, "silent_s": "x"},
        {"host": "gpu7", "runs": [{}, 7]},
    ]
    events = [
        Event("host_lost", channel, severity, "", dict(each), 10**30, "f" * 16, 1)
        for each in details
    ]
    lab.hosts.restore(events)
    assert {each["status"] for each in lab.hosts.shown()} == {"lost"}


def test_what_is_kept_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_module, "MAX_HOSTS", 3)
    monkeypatch.setattr(hosts_module, "MAX_SENDERS", 3)
    monkeypatch.setattr(hosts_module, "MAX_ALL_PROCESSES", 4)
    for number in range(5):
        lab.clock.now_s += 1
        lab.beat(A, host=f"gpu{number}")
    assert [host.name for host in lab.hosts] == ["gpu2", "gpu3", "gpu4"]
    for number in range(5):
        lab.clock.now_s += 1
        lab.beat(host="gpu4", pipeline=f"q{number}")
    assert list(lab.hosts)[-1].senders.keys() == {"q2", "q3", "q4"}
    with pytest.raises(FullError):
        lab.beat(*[A] * 3, host="gpu5")
    lab.go_on(FORGET_S + 40)
    assert [host.name for host in lab.hosts] == ["gpu2", "gpu3"]
    lab.clock.now_s += FORGET_LOST_S
    lab.look()
    assert list(lab.hosts) == []


def test_hosts_where_nothing_runs_push_out_none_where_something_does(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts_module, "MAX_HOSTS", 3)
    lab.beat(A, host="gpu7")
    for number in range(9):
        lab.clock.now_s += 1
        lab.beat(host=f"made-up-{number}")
    assert [host.name for host in lab.hosts] == ["gpu7", "made-up-7", "made-up-8"]
    lab.go_on(40)
    assert lab.kinds == ["host_lost"]


def told(number: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "producer": A, "number": number, "run_id": "r1", **fields}


def post(client: httpx.Client, *events: dict[str, Any]) -> None:
    answer = client.post("/api/v1/events", json={"events": events})
    assert answer.json()["accepted"] == len(events), answer.text


def beat(client: httpx.Client, *processes: Mapping[str, Any], **fields: Any) -> httpx.Response:
    body = {"host": "gpu7", "boot_id": "x", "interval_s": 0.3, "processes": processes, **fields}
    return client.post("/api/v1/heartbeat", json=body)


OPEN = {"producer": A, "run_id": "r1", "rank": 3, "step": 7, "step_unix_nano": START_NS}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "realm.toml").write_text("[watch]\nhost_silent_s = 1\n")
    return tmp_path


@pytest.fixture
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(free_ports(home)) as server, asking(server) as made:
        yield made


def of_run(client: httpx.Client) -> tuple[str, str | None]:
    run = client.get("/api/runs/r1").json()
    return run["status"], run["reason"]


def beat_until(client: httpx.Client, status: str) -> None:
    """Keep the host alive until its run has a status."""

    def is_so() -> bool:
        assert beat(client, OPEN).status_code == 200
        return of_run(client)[0] == status

    wait_until(is_so)


def hosts_told(client: httpx.Client) -> Sequence[dict[str, Any]]:
    found = client.get("/api/battle_log?kind=host_lost,host_heard_again").json()
    return list(reversed(found))


def test_a_run_is_lost_while_its_host_is_silent_and_goes_on_after(client: httpx.Client) -> None:
    post(client, told(1, "run_started"), told(2, "training_step", details={"step": 7}))
    answer = beat(client, OPEN)
    assert answer.status_code == 200
    assert answer.json() == {"log_id": client.get("/health").json()["log_id"]}
    (host,) = client.get("/api/hosts").json()["hosts"]
    assert host.pop("age_s") < 30
    assert host.pop("last_heard_at")
    assert host == {
        "host": "gpu7",
        "boot_id": "x",
        "status": "live",
        "runs": [
            {
                "run_id": "r1",
                "processes": [
                    {
                        "producer": A,
                        "rank": 3,
                        "step": 7,
                        "step_at": "2025-11-29T00:00:00.000000Z",
                    }
                ],
            }
        ],
    }
    wait_until(lambda: of_run(client)[0] == "lost")
    (lost,) = hosts_told(client)
    assert of_run(client)[1] == f"host gpu7 silent since {lost['details']['last_heard']}"
    assert lost["severity"] == "error"
    assert lost["run_id"] == "r1"
    assert client.get("/api/hosts").json()["hosts"][0]["status"] == "lost"
    beat(client, OPEN)
    beat_until(client, "running")
    assert [each["kind"] for each in hosts_told(client)] == ["host_lost", "host_heard_again"]
    post(client, told(3, "run_ended", details={"status": "completed"}))
    wait_until(lambda: of_run(client)[0] == "completed")


def test_a_host_whose_processes_have_ended_is_not_lost(client: httpx.Client) -> None:
    post(client, told(1, "run_started"), told(2, "run_ended", details={"status": "failed"}))
    beat(client, OPEN, {**OPEN, "run_id": "not in the log"})
    wait_until(lambda: client.get("/api/hosts").json()["hosts"][0]["status"] == "away")
    assert hosts_told(client) == []
    assert of_run(client)[0] == "failed"


def test_a_service_that_starts_again_hears_a_host_again(home: Path) -> None:
    with serving(free_ports(home)) as server, asking(server) as client:
        post(client, told(1, "run_started"))
        beat(client, OPEN)
        wait_until(lambda: of_run(client)[0] == "lost")
    with serving(free_ports(home)) as server, asking(server) as client:
        wait_until(lambda: client.get("/api/runs").status_code == 200)
        wait_until(lambda: len(client.get("/api/hosts").json()["hosts"]) == 1)
        assert of_run(client)[0] == "lost"
        assert beat(client, OPEN).status_code == 200
        beat_until(client, "running")
    with LogReader(home / "vault" / "jobs.db") as reader:
        kinds = [row.event.kind for row in reader.now.after(0, 100)]
    assert kinds.count("host_lost") == kinds.count("host_heard_again") == 1


def test_a_service_that_starts_again_misses_a_host_that_it_never_heard(home: Path) -> None:
    with serving(free_ports(home)) as server, asking(server) as client:
        post(client, told(1, "run_started"))
        assert beat(client, OPEN).status_code == 200
        assert of_run(client)[0] == "running"
    with serving(free_ports(home)) as server, asking(server) as client:
        wait_until(lambda: client.get("/api/runs").status_code == 200)
        wait_until(lambda: of_run(client)[0] == "lost")
        (host,) = client.get("/api/hosts").json()["hosts"]
        assert host["status"] == "lost"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"host": ""}', 400),
        (b'{"host": "a", "interval_s": 0}', 400),
        (b'{"host": "a", "processes": [{"producer": "A", "run_id": "r"}]}', 400),
        (b'{"host": "a", "processes": [{"producer": "aaaaaaaaaaaaaaaa", "run_id": ""}]}', 400),
        (b'{"host": "\\ud800"}', 400),
        (b'{"host": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b'{"host": "a", "future": 1}', 200),
        (b'{"host": "' + b"a" * 2**20 + b'"}', 413),
    ],
)
def test_a_heartbeat_that_is_none_is_refused(
    client: httpx.Client, body: bytes, status: int
) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/api/v1/heartbeat", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert client.get("/api/hosts").status_code == 200


def test_a_heartbeat_has_to_be_plain_json(client: httpx.Client) -> None:
    for headers in ({}, {"content-type": "application/json", "content-encoding": "gzip"}):
        answer = client.post("/api/v1/heartbeat", content=b'{"host": "a"}', headers=headers)
        assert answer.status_code == 415


def test_a_pipe_in_the_place_of_the_file_of_hosts_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hosts.json")
    assert HostsFile(tmp_path / "hosts.json", "a log").read() == []

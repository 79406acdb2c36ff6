"""The heartbeat of a host: what it says, when it is sent, and that nobody waits for it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from realm_telemetry.config import DEFAULT_SERVICE_URL
from realm_telemetry.delivery.heartbeats import HEARTBEAT_PATH, Heartbeat, read_heartbeat
from realm_telemetry.home import RunningService, ServiceAddress
from realm_telemetry.home.shared import LINK, SharedService, write_service
from realm_telemetry.shipper.process_end import host
from realm_telemetry.spool.frames import encode_msgpack
from realm_telemetry.testing import BrokenServer
from tests.waiting import SOON_S

from .conftest import Lab, Producer

QUICK = "[watch]\nhost_silent_s = 0.6\n"


class Receiver(ThreadingHTTPServer):
    """Takes heartbeats; delays each answer until `let_go` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.beats: list[Heartbeat] = []
        self.tokens: list[str | None] = []
        self.log_id = "5" * 32
        self.let_go = threading.Event()
        self.let_go.set()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["authorization"])
        self._answer(b'{"log_id": "%s"}' % self.server.log_id.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == HEARTBEAT_PATH:
            self.server.beats.append(read_heartbeat(body))
            self.server.tokens.append(self.headers["authorization"])
        self.server.let_go.wait(60)
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.let_go.set()
    made.shutdown()
    thread.join()
    made.server_close()


class Deaf:
    """Stands for the exporter, which is not what is tested here."""

    def export_events(self, events: object) -> None:
        """Take all."""


@pytest.fixture
def make_lab(tmp_path: Path, receiver: Receiver) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(*exporters: str, settings: str = QUICK, url: str = receiver.url) -> Lab:
        (tmp_path / "realm.toml").write_text(settings)
        fields = {
            "service_url": url,
            "token": "a-long-token",
            "exporters": list(exporters),
        }
        made.append(Lab(tmp_path, **fields))
        return made[-1]

    yield make
    for lab in made:
        for running in lab.running:
            running.shipper.stop()
            running.thread.join(60)


def start(lab: Lab) -> None:
    lab.start(exporters={"realm_service": Deaf()})


def begin(producer: Producer) -> int:
    return _in_run(producer, "run_started", command="train")


def step(producer: Producer, number: int) -> int:
    return _in_run(producer, "training_step", step=number)


def _in_run(producer: Producer, kind: str, **details: object) -> int:
    payload = (time.time_ns(), kind, "training", "info", "hello", details, None, None, "r7")
    return producer.writer.append(encode_msgpack(payload))


def test_it_names_the_host_its_runs_and_their_steps(
    receiver: Receiver, make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    lab = make_lab("realm_service")
    producer = lab.producer()
    begin(producer)
    start(lab)
    eventually(lambda: any(beat.processes for beat in receiver.beats))
    beat = next(beat for beat in receiver.beats if beat.processes)
    assert f"{beat.host} {beat.boot_id}" == host()
    assert beat.pipeline == lab.pipeline_dir.name
    assert beat.interval_s == pytest.approx(0.2)
    (process,) = beat.processes
    assert (process.producer, process.run_id, process.rank) == (producer.id, "r7", None)
    step(producer, 3)
    eventually(lambda: any(each.step == 3 for beat in receiver.beats for each in beat.processes))
    (process,) = receiver.beats[-1].processes
    assert abs((process.step_unix_nano or 0) - time.time_ns()) < 60e9
    moment = time.time_ns()
    producer.writer.progress[0], producer.writer.progress[1] = 12, moment
    eventually(lambda: receiver.beats[-1].processes[0].step == 12)
    assert receiver.beats[-1].processes[0].step_unix_nano == moment
    assert set(receiver.tokens) == {"Bearer a-long-token"}


def test_without_an_address_they_go_to_where_the_service_of_the_home_says_it_is(
    receiver: Receiver,
    make_lab: Callable[..., Lab],
    eventually: Callable[..., None],
    tmp_path: Path,
) -> None:
    address = ServiceAddress.claim(tmp_path)
    assert address is not None
    address.say(RunningService(receiver.url, receiver.url, 0, 0))
    lab = make_lab("realm_service", url=DEFAULT_SERVICE_URL)
    begin(lab.producer())
    start(lab)
    eventually(lambda: any(beat.processes for beat in receiver.beats))
    address.close()


def test_a_stranger_at_the_address_of_a_shared_home_gets_neither_token_nor_runs(
    receiver: Receiver,
    make_lab: Callable[..., Lab],
    eventually: Callable[..., None],
    tmp_path: Path,
) -> None:
    """As where the service has gone and another one was given its port."""
    shared = tmp_path / "network"
    shared.mkdir(mode=0o700)
    (shared / "realm.toml").write_text(QUICK)
    (tmp_path / LINK).symlink_to(shared)
    ours = receiver.log_id
    receiver.log_id = "6" * 32
    write_service(shared, SharedService([receiver.url], "", os.uname().nodename, ours))
    lab = make_lab("realm_service", url=DEFAULT_SERVICE_URL)
    begin(lab.producer())
    start(lab)
    eventually(lambda: len(receiver.tokens) >= 3)
    assert receiver.beats == []
    assert set(receiver.tokens) == {None}
    receiver.log_id = ours
    eventually(lambda: any(beat.processes for beat in receiver.beats))
    assert set(receiver.tokens) == {None, "Bearer a-long-token"}


def test_the_last_one_says_that_nothing_runs_any_more(
    receiver: Receiver, make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    lab = make_lab("realm_service", settings="")
    producer = lab.producer()
    begin(producer)
    start(lab)
    eventually(lambda: any(beat.processes for beat in receiver.beats))
    producer.end()
    lab.running[0].join(60)
    assert receiver.beats[-1].processes == []


def test_a_shipper_that_is_stopped_before_its_producers_does_not_say_so(
    receiver: Receiver, make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    lab = make_lab("realm_service", settings="")
    begin(lab.producer())
    start(lab)
    eventually(lambda: any(beat.processes for beat in receiver.beats))
    lab.running[0].stop()
    assert receiver.beats[-1].processes != []


def test_a_run_that_begins_or_ends_is_told_at_once(
    receiver: Receiver, make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    lab = make_lab("realm_service", settings="[watch]\nhost_silent_s = 3600\n")
    producer = lab.producer()
    producer.emit("note")
    start(lab)
    eventually(lambda: len(receiver.beats) == 1)
    assert receiver.beats[0].processes == []
    begin(producer)
    eventually(lambda: len(receiver.beats) == 2)
    assert receiver.beats[1].processes[0].run_id == "r7"


def test_a_pipeline_that_ships_to_no_service_sends_none(
    receiver: Receiver, make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    lab = make_lab("battle_log")
    producer = lab.producer()
    begin(producer)
    lab.start(exporters={"battle_log": Deaf()})
    eventually(lambda: producer.writer.control.stored_number == 1)
    time.sleep(1.5)
    assert receiver.beats == []


def test_a_service_that_hangs_delays_neither_events_nor_the_end(
    receiver: Receiver, make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    receiver.let_go.clear()
    lab = make_lab("realm_service")
    producer = lab.producer()
    begin(producer)
    start(lab)
    eventually(lambda: bool(receiver.beats))
    number = step(producer, 1)
    eventually(lambda: producer.writer.control.stored_number == number)
    eventually(lambda: len(receiver.beats) >= 3)
    began_s = time.monotonic()
    lab.running[0].stop()
    assert time.monotonic() - began_s < SOON_S


def test_an_address_that_is_none_harms_nothing(
    make_lab: Callable[..., Lab], eventually: Callable[..., None]
) -> None:
    lab = make_lab("realm_service")
    lab.manifest.options["realm_service"] = {"url": "no address", "token": "\n"}
    producer = lab.producer()
    begin(producer)
    lab.start(exporters={"realm_service": Deaf()}, manifest=lab.manifest)
    eventually(lambda: producer.writer.control.stored_number == 1)
    time.sleep(0.5)
    assert lab.running[0].thread.is_alive()


@pytest.mark.parametrize("fault", ["gone", "503"])
def test_another_service_hears_what_one_does_not(
    receiver: Receiver,
    make_lab: Callable[..., Lab],
    eventually: Callable[..., None],
    fault: str,
) -> None:
    with BrokenServer() as other:
        if fault == "gone":
            other.stop()
        other.mode = fault if fault != "gone" else "ok"
        lab = make_lab("realm_service", url=f"{other.url},{receiver.url}")
        begin(lab.producer())
        start(lab)
        eventually(lambda: len(receiver.beats) >= 3)
        assert len(other.requests) <= 1, "it keeps to the one that answers"

"""From spool through the log to a receiver: what waits, what is given up, and what people see."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from realm_telemetry.cli.group import realm
from realm_telemetry.log import LogWriter
from realm_telemetry.log.records import Refusal
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.shipper.ship_once import ship_once
from tests.ports import free_port

from .lab import Lab
from .receivers import Answer, HttpReceiver, Receiver

pytestmark = pytest.mark.slow

MakeLab = Callable[..., Lab]


@pytest.fixture
def running(lab: MakeLab, receiver: Receiver, protocol: str) -> Lab:
    """A pipeline to the receiver, with a shipper at work."""
    made = lab(endpoint=receiver.endpoint, protocol=protocol, timeout_s=5)
    made.start()
    return made


def run_command(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(realm, list(arguments))


def test_events_arrive_with_their_producers_resource(
    running: Lab, receiver: Receiver, eventually: Callable[..., None]
) -> None:
    running.emit(20)
    eventually(lambda: receiver.count() == 20)
    (resource,) = {tuple(sorted(each.resource.items())) for each in receiver.arrived}
    assert dict(resource) == {
        "realm.producer.id": "ab" * 8,
        "service.name": "trainer",
        "process.pid": 4242,
    }
    log = {row.event.id: row.event for row in running.rows()}
    for each in receiver.arrived:
        assert each.record.observed_time_unix_nano == log[each.uid].observed_unix_nano


def test_a_pipelines_variables_are_those_of_its_producer(
    home: Path, start_receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`realm ship --once` ships several at once, from a shell with variables of its own."""
    receivers = [start_receiver(HttpReceiver) for _ in range(3)]
    labs = [
        Lab(home, producer=f"{n}" * 16, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": to.endpoint})
        for n, to in enumerate(receivers[:2])
    ]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receivers[2].endpoint)
    for number, made in enumerate(labs, 1):
        made.emit(number)
        made.end()
    results = ship_once([made.pipeline_dir for made in labs], timeout_s=20)
    assert all(result.complete for result in results), results
    assert [each.count() for each in receivers] == [1, 2, 0]


def test_a_receiver_that_is_away_gets_everything_later_and_no_other_waits(
    lab: MakeLab, start_receiver: Any, eventually: Callable[..., None]
) -> None:
    """The battle log has its events meanwhile."""
    port = free_port()
    made = lab(endpoint=f"http://127.0.0.1:{port}", timeout_s=2)
    made.start()
    made.emit(30)
    eventually(lambda: "Connection refused" in made.status().error)
    eventually(lambda: made.status().lag == {"battle_log": 0, "otlp": 30})
    receiver = start_receiver(HttpReceiver, port=port)
    eventually(lambda: len(receiver.uids()) == 30)
    eventually(lambda: made.status().error == "")


def test_what_is_invalid_alone_ends_in_the_dead_letters(
    running: Lab, receiver: Receiver, eventually: Callable[..., None]
) -> None:
    """A request with one bad record is refused as a whole; the others arrive without it."""
    bad = "ab" * 8 + f"{7:016x}"
    receiver.invalid.add(bad)
    running.emit(40)
    eventually(lambda: running.status().dead_letters)
    (letter,) = running.status().dead_letters
    assert letter.startswith(f"{bad}, otlp: ")
    assert "invalid record" in letter
    eventually(lambda: running.status().lag["otlp"] == 0)
    assert sorted(receiver.uids()) == sorted(
        row.event.id for row in running.rows() if row.event.id != bad
    )


def test_a_busy_receiver_is_left_alone_as_long_as_it_asks(
    lab: MakeLab, start_receiver: Any, eventually: Callable[..., None]
) -> None:
    """Nothing is sent in the meantime, though the first wait of ours would be a quarter second."""
    receiver = start_receiver(HttpReceiver)
    receiver.script.append(Answer(503, headers=(("retry-after", "1"),)))
    made = lab(endpoint=receiver.endpoint)
    made.emit(3)
    made.start()
    eventually(lambda: receiver.refused == 1)
    refused_at = time.monotonic()
    eventually(lambda: receiver.count() == 3)
    assert time.monotonic() - refused_at >= 0.9
    assert len(receiver.paths) == 2


def test_a_partial_success_is_reported_once_and_counted_in_the_status(
    lab: MakeLab, receiver: Receiver, protocol: str, eventually: Callable[..., None]
) -> None:
    """The receiver does not say which, so nothing is sent again and no event is a dead letter."""
    receiver.script += [Answer(rejected=1, words="too old"), Answer(rejected=2, words="too old")]
    made = lab(endpoint=receiver.endpoint, protocol=protocol)
    made.emit(600)  # more than a batch, so that there are two requests at least
    made.start()
    eventually(lambda: sum(each.count for each in made.status().refused) == 3)
    eventually(lambda: made.status().lag["otlp"] == 0)
    assert made.status().dead_letters == []
    assert receiver.count() == len(receiver.uids()) == 600
    shown = run_command("ship", "--status").output
    assert "otlp: 3 events refused by the other side, which does not say which:" in shown
    assert "too old" in shown
    assert (
        "3 events refused by the other side of otlp"
        in run_command("doctor", "--no-round-trip").output
    )
    log_file = next((made.home / "logs").glob("shipper-*.log")).read_text()
    assert log_file.count("does not name them") == 1


def test_refusals_of_a_log_are_counted_by_pipeline_and_exporter(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "jobs.db") as log:
        log.add_refusal(
            "p1",
            "otlp",
        ) if False else None
        log.add_refusal("p1", Refusal("otlp", 2, "old"))
        log.add_refusal("p1", Refusal("otlp", 3, "new"))
        log.add_refusal("p1", Refusal("jsonl", 1, "x"))
        log.add_refusal("p2", Refusal("otlp", 9, "other"))
    with LogReader(tmp_path / "jobs.db") as reader:
        assert reader.now.refusals("p1") == [Refusal("jsonl", 1, "x"), Refusal("otlp", 5, "new")]
        assert reader.now.refusals("p3") == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ENDPOINT": "collector:4318"}, "'collector:4318' is not an address. Write it like http"),
        ({"ENDPOINT": "http://127.0.0.1:{port}"}, "Connection refused. Does a collector listen"),
        ({"PROTOCOL": "http/json"}, "there is no 'http/json'. Use one of http/protobuf, grpc"),
    ],
)
def test_a_wrong_endpoint_is_named_by_exporters_doctor_and_status(
    lab: MakeLab,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., None],
    variables: dict[str, str],
    words: str,
) -> None:
    port = str(free_port())
    variables = {name: value.format(port=port) for name, value in variables.items()}
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log,otlp")
    made = lab(**{name.lower(): value for name, value in variables.items()})
    made.emit(1)
    made.start()
    eventually(lambda: words.split(".")[0] in made.status().error)
    for command in (("exporters",), ("doctor", "--no-round-trip"), ("ship", "--status")):
        # The doctor gives the fix a line of its own, and ends the first one without a full stop.
        shown = " ".join(run_command(*command).output.replace(".", "").split())
        assert words.replace(".", "") in shown, command

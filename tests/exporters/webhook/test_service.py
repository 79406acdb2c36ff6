"""The whole way: producers, shippers, the log, the real service, a real receiver."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from realm_telemetry.config import load_settings
from realm_telemetry.delivery.guarded import GuardedLog
from realm_telemetry.delivery.report import LogFile, Reporter
from realm_telemetry.delivery.sources import PipelineLog, Recent
from realm_telemetry.log import LogReader, LogWriter, ProducerInfo
from realm_telemetry.log.engine import open_log
from realm_telemetry.shipper.deliveries import Deliveries
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.testing.running_service import running_service
from realm_telemetry.transfer.replay import replay_events, replay_to_exporter
from tests.waiting import wait_until

from .conftest import Receiver, event, options

pytestmark = pytest.mark.slow

EMIT = """
import sys
import realm_telemetry as realm
realm.configure(service_name="webhooks", home=sys.argv[1], exporters=["battle_log"])
realm.emit("note", "Asked for", webhooks=[sys.argv[2]])
assert realm.flush(timeout_s=60), realm.flush_problem()
"""


def serving(home: Path, given: dict[str, Any], **settings: Any) -> Any:
    """A real service of a home, with options of its webhook exporter."""
    return running_service(home, options={"webhook": given}, **settings)


def append(home: Path, *events: Any, pipeline: str = "main") -> None:
    with LogWriter(home / "vault" / "jobs.db") as log:
        for each in events:
            log.register_producer(ProducerInfo(each.producer, pipeline))
        log.append(list(events))


def cursors(home: Path) -> dict[str, int]:
    with LogReader(home / "vault" / "jobs.db") as reader:
        return reader.now.cursors("")


def test_rules_fire_once_for_the_lab_over_all_processes(tmp_path: Path, receiver: Receiver) -> None:
    rule = {"kind": "job_failed", "threshold": 3, "cooldown": "1h"}
    with serving(tmp_path, options(receiver.url(), rule)):
        wait_until(lambda: "webhook" in cursors(tmp_path))
        for number, producer in enumerate(("a1" * 8, "a2" * 8, "a3" * 8, "a4" * 8), 1):
            append(tmp_path, event(number, producer=producer), pipeline=producer)
        assert receiver.wait_for(1)[0].json["count"] == 3
        wait_until(lambda: cursors(tmp_path)["webhook"] == 4)
    assert len(receiver.received) == 1


def test_a_silence_is_told_once_by_a_service_that_is_started_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    """No event comes while it waits; the second run says that the time of the first was over."""
    given = options(receiver.url(), {"name": "silent", "silent_for": "2s"}, alerts={"to": []})
    with serving(tmp_path, given):
        wait_until(lambda: "webhook" in cursors(tmp_path))
        append(tmp_path, event(1, "run_started", run_id="r1"))
        receiver.wait_for(1)
    with serving(tmp_path, given):
        append(tmp_path, event(2, "run_started", run_id="r2"))
        receiver.wait_for(2)
    assert [each.json["group"] for each in receiver.received] == ["r1", "r2"]
    assert {each.json["about"] for each in receiver.received} == {"silent for 2s"}


def test_metrics_say_how_many_messages_wait_and_which_senders_leave_hosts_alone(
    tmp_path: Path, receiver: Receiver
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = f"http://127.0.0.1:{silent.getsockname()[1]}"
        addresses = tuple(f"{slow}/{number}" for number in range(4))
        with serving(tmp_path, options(receiver.url(), timeout=0.3)) as running:
            wait_until(lambda: "webhook" in cursors(tmp_path))
            append(tmp_path, event(1, webhooks=addresses))
            with httpx.Client(base_url=running.url) as client:
                expected = 'realm_webhook_hosts_left_alone{senders="events"} 1\n'
                wait_until(lambda: expected in client.get("/metrics").text)
                text = client.get("/metrics").text
    assert 'realm_webhook_hosts_left_alone{senders="rules"} 0\n' in text
    assert 'realm_webhook_messages{state="pending"} 4\n' in text
    assert 'realm_webhook_messages{state="delivered"} 1\n' in text


def test_what_came_while_no_service_ran_fires_when_one_comes(
    tmp_path: Path, receiver: Receiver
) -> None:
    given = options(receiver.url(), {"kind": "job_failed"})
    with serving(tmp_path, given):
        wait_until(lambda: "webhook" in cursors(tmp_path))
    append(tmp_path, event(1))
    with serving(tmp_path, given):
        receiver.wait_for(1)
        wait_until(lambda: cursors(tmp_path)["webhook"] == 1)
    with serving(tmp_path, given):
        append(tmp_path, event(2))
        receiver.wait_for(2)
    assert [each.json["events"][0]["number"] for each in receiver.received] == [1, 2]


@pytest.mark.parametrize("pipeline", ["import", "remote/replay"])
def test_what_was_imported_or_replayed_fires_nothing(
    pipeline: str, tmp_path: Path, receiver: Receiver
) -> None:
    with serving(tmp_path, options(receiver.url(), digest="0.1s")):
        wait_until(lambda: "webhook" in cursors(tmp_path))
        append(tmp_path, event(1, producer="b1" * 8), pipeline=pipeline)
        append(tmp_path, event(2, producer="b1" * 8, age_s=9e6), pipeline=pipeline)
        append(tmp_path, event(3))
        receiver.wait_for(1)
        wait_until(lambda: cursors(tmp_path)["webhook"] == 3)
    assert [each.json["events"][0]["number"] for each in receiver.received] == [3]


def test_a_service_sends_what_an_event_asks_for_even_from_before_its_first_start(
    tmp_path: Path, receiver: Receiver
) -> None:
    asked = msgspec.structs.replace(event(2), webhooks=(receiver.url("/asked"),))
    append(tmp_path, event(1), asked)
    with serving(tmp_path, {"allow_hosts": ["127.0.0.1"]}):
        receiver.wait_for(1)
        wait_until(lambda: cursors(tmp_path).get("webhook") == 2)
    assert [each.path for each in receiver.received] == ["/asked"]


def test_a_wrong_rule_stops_no_service_and_is_reported(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, options(receiver.url(), {"kinds": "x"})) as server:
        append(tmp_path, event(1))
        wait_until(lambda: "there is no such setting" in caplog.text)
        assert server.url
    assert "Did you mean 'kind'" in caplog.text


def test_a_service_without_exporters_follows_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, {}, exporters=()):
        append(tmp_path, event(1))
    assert cursors(tmp_path) == {}


def test_a_shipper_that_comes_back_goes_on_with_what_was_asked_for(
    tmp_path: Path, receiver: Receiver
) -> None:
    (tmp_path / "realm.toml").write_text('[options.webhook]\nallow_hosts = ["127.0.0.1"]\n')
    path = tmp_path / "vault" / "jobs.db"
    append(tmp_path, msgspec.structs.replace(event(1), webhooks=(receiver.url(),)))
    manifest = Manifest(
        version="1",
        python=sys.executable,
        home=str(tmp_path),
        log_path=str(path),
        search_path=str(tmp_path / "vault" / "search.db"),
        service_url="http://127.0.0.1:9",
        exporters=["battle_log"],
        pipeline="main",
    )
    report = Reporter(LogFile(tmp_path / "shipper.log", max_bytes=1_000_000))
    log = GuardedLog(open_log(path), report)
    log.write(lambda writer: writer.save_cursor("main", "webhook", 0))
    recent = Recent()
    recent.start(1)
    deliveries = Deliveries(manifest, log, report, {}, lambda: PipelineLog(path, "main", recent))
    deliveries.start(1)
    receiver.wait_for(1)
    wait_until(lambda: not deliveries.lagging(1))
    deliveries.stop(5.0)
    log.close()


@pytest.mark.processes
def test_without_a_service_the_shipper_sends_what_an_event_asks_for(
    tmp_path: Path, receiver: Receiver
) -> None:
    (tmp_path / "realm.toml").write_text(
        '[options.webhook]\nallow_hosts = ["127.0.0.1"]\nsecret = "s"\n'
        f'targets.lab.url = "{receiver.url("/rule")}"\n'
        'rules = [{ name = "all", to = "lab" }]\n'
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REALM_")}
    subprocess.run(
        [sys.executable, "-c", EMIT, str(tmp_path), receiver.url("/asked")],
        env=kept,
        check=True,
        timeout=60,
    )
    (got,) = receiver.wait_for(1)
    assert got.path == "/asked", "rules are the service's"
    assert got.json["events"][0]["message"] == "Asked for"
    assert "webhook-signature" in got.headers
    for manifest in (tmp_path / "spool").glob("*/manifest.json"):
        assert "/rule" not in manifest.read_text(), "no secret of others in a pipeline's manifest"
    with serving(tmp_path, {"allow_hosts": ["127.0.0.1"]}):
        wait_until(lambda: cursors(tmp_path).get("webhook", 0) >= 1)
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
    assert len(receiver.received) == 1, "sent once, by any process that sees it"


def test_a_replay_sends_nothing_unless_asked_to(tmp_path: Path, receiver: Receiver) -> None:
    elsewhere = tmp_path / "elsewhere"
    append(elsewhere, event(1, age_s=9e6), event(2, age_s=9e6))
    given = options(receiver.url(), {"kind": "job_failed"}, digest="0.1s")
    with serving(tmp_path, given) as server:
        wait_until(lambda: "webhook" in cursors(tmp_path))
        append(tmp_path, event(3, producer="c1" * 8))
        receiver.wait_for(1)
        wait_until(lambda: cursors(tmp_path)["webhook"] == 1)
        replay_events(home=elsewhere, to=server.url)
        replay_events(home=tmp_path, to=server.url)
        wait_until(lambda: cursors(tmp_path)["webhook"] == 3)
        assert len(receiver.received) == 1
        settings = load_settings({"home": tmp_path, "options": {"webhook": given}})
        (moved,) = replay_to_exporter(settings, "webhook", 0)
        assert moved.after == 0
        receiver.wait_for(2)
    numbers = [each.json["events"][0]["number"] for each in receiver.received]
    assert numbers == [3, 3]


def test_a_run_is_muted_over_http_and_heard_of_again(tmp_path: Path, receiver: Receiver) -> None:
    """By all rules, and others are told meanwhile."""
    given = {"targets": {"lab": {"url": receiver.url(), "private": True}}}
    with serving(tmp_path, given) as running:
        wait_until(lambda: "webhook" in cursors(tmp_path))
        with httpx.Client(base_url=running.url) as client:
            for wrong in (
                {"mute_run": ""},
                {"mute_run": "r" * 257},
                {"mute_run": "r", "mute": "x"},
            ):
                assert client.post("/api/alerts", json=wrong).status_code == 400, wrong
            action = {"mute_run": "r1", "for_s": 3600}
            answer = client.post("/api/alerts", json=action).json()
            assert answer == {"muted_run": "r1", "for_s": 3600.0}
            (muted,) = client.get("/api/alerts").json()["muted_runs"]
            assert muted["run_id"] == "r1"
            append(
                tmp_path,
                *(event(n, "disk_low", run_id=f"r{n}", details={"path": "/"}) for n in (1, 2)),
            )
            receiver.wait_for(1)
            client.post("/api/alerts", json={"mute_run": "r1", "for_s": 0})
            assert client.get("/api/alerts").json()["muted_runs"] == []
            append(tmp_path, event(3, "host_lost", run_id="r1", details={"host": "gpu7"}))
            receiver.wait_for(2)
    told = [(each.json["rule"], each.json["run"]["run_id"]) for each in receiver.received]
    assert told == [("disk_low", "r2"), ("host_lost", "r1")]

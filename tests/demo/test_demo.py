"""The demo from beginning to end, with real processes on real data."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.config import load_settings
from realm_telemetry.demo.service import DemoService, Ports, find_or_start
from realm_telemetry.demo.verdict import judge
from realm_telemetry.event import Event
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.reader import LogReader

pytestmark = pytest.mark.alone

CAMPAIGN = "digits-001"
ANY_PORTS = Ports(0, 0, 0)
SERVICE = "serve"
SHIPPER = "realm_telemetry.shipper"

Until = Callable[[Callable[[], bool], float], bool]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, demo_process: Any) -> Iterator[Any]:
    """One quick campaign from beginning to end."""
    with demo_process(tmp_path_factory.mktemp("demo") / "home", once=True) as process:
        yield process


@pytest.fixture(scope="module")
def campaign(lab: Any) -> subprocess.CompletedProcess[str]:
    """How it ended."""
    ended: subprocess.CompletedProcess[str] = lab.ended()
    return ended


@pytest.fixture(scope="module")
def home(lab: Any, campaign: subprocess.CompletedProcess[str]) -> Path:
    """The home in which it has run."""
    path: Path = lab.home
    return path


@pytest.fixture
def events(home: Path) -> list[Event]:
    """The campaign's events, oldest first."""
    reader = LogReader(home / "vault" / "jobs.db")
    rows = reader.now.page(Filters(campaigns=(CAMPAIGN,), limit=1000)).rows
    reader.close()
    return [row.event for row in reversed(rows)]


@pytest.fixture
def service(home: Path) -> Iterator[DemoService]:
    """A service of that home."""
    started = start_service(home)
    yield started
    started.end_by(time.monotonic() + 5)


def start_service(home: Path, ports: Ports = ANY_PORTS) -> DemoService:
    return find_or_start(load_settings({"home": home}), ports, lambda: False)


def test_one_campaign_ends_well_and_says_so(campaign: subprocess.CompletedProcess[str]) -> None:
    assert (campaign.returncode, campaign.stderr) == (0, ""), campaign.stdout
    assert "stream, live view and history agree" in campaign.stdout
    assert "killed, nothing lost" in campaign.stdout
    assert "/api/battle_log?limit=10' | jq '.[0]'" in campaign.stdout


def test_every_producer_has_a_complete_receipt(home: Path) -> None:
    reader = LogReader(home / "vault" / "jobs.db")
    receipts = reader.now.receipts()
    reader.close()
    assert len(receipts) == 3
    assert all(receipt.complete and receipt.ended and not receipt.dropped for receipt in receipts)


def test_the_killed_worker_is_reported_lost_with_its_job(events: list[Event]) -> None:
    (lost,) = [event for event in events if event.kind == "process_lost"]
    assert lost.details["service"] == "eval_worker"
    assert lost.details["open_lifecycles"]
    joined = [event for event in events if event.kind == "worker_joined"]
    assert lost.producer in {event.producer for event in joined}


def test_the_job_of_the_killed_worker_is_done_by_the_other(events: list[Event]) -> None:
    (retried,) = [event for event in events if event.kind == "job_retried"]
    job_id = retried.details["job_id"]
    of_the_job = [event for event in events if event.details.get("job_id") == job_id]
    kinds = [event.kind for event in sorted(of_the_job, key=lambda event: event.time_unix_nano)]
    assert kinds == [
        "job_submitted",
        "job_claimed",
        "job_started",
        "job_retried",
        "job_claimed",
        "job_started",
        "job_completed",
    ]
    assert len({event.producer for event in of_the_job if event.kind == "job_claimed"}) == 2


def test_the_torn_checkpoint_fails_its_job_with_the_traceback(events: list[Event]) -> None:
    (failed,) = [event for event in events if event.kind == "job_failed"]
    assert failed.details["error_type"] == "BadZipFile"
    assert "load_checkpoint" in failed.details["traceback"]


def test_steps_checkpoints_and_evals_are_all_emitted(events: list[Event]) -> None:
    kinds = Counter(event.kind for event in events)
    assert kinds["training_step"] == 300
    assert kinds["lr_changed"] == 2
    assert kinds["checkpoint_saved"] == 10
    assert kinds["job_submitted"] == 11
    # The killed worker's evals before its end come on top.
    assert 100 < kinds["eval_completed"] < 110
    assert kinds["job_completed"] == 10
    assert kinds["worker_left"] == 1
    assert {"title_earned", "skill_level_up", "checkpoint_deleted", "worker_heartbeat"} <= set(
        kinds
    )


def test_checkpoints_on_disk_are_the_champion_and_the_last_ones(
    home: Path, events: list[Event]
) -> None:
    gone = {event.details["path"] for event in events if event.kind == "checkpoint_deleted"}
    assert gone
    assert not any(Path(path).exists() for path in gone)
    champion = [event for event in events if event.kind == "checkpoint_promoted"][-1]
    assert Path(champion.details["path"]).exists()
    assert (home / "lab" / CAMPAIGN / "checkpoints" / "step-000300.npz").exists()


def test_nothing_runs_on_after_a_campaign(lab: Any, home: Path, until: Until) -> None:
    assert lab.left(SHIPPER) == {}
    assert until(lambda: not lab.left(), 10), lab.left()


def test_a_stream_that_missed_events_is_found(service: DemoService) -> None:
    with service.client() as client:
        streamed = Counter(row.event.id for row in client.query(campaign=CAMPAIGN, limit=1000))
        assert judge(client, CAMPAIGN, streamed).problems == []

        missed, repeated = sorted(streamed)[:2]
        del streamed[missed]
        streamed[repeated] += 1
        problems = judge(client, CAMPAIGN, streamed).problems
    assert len(problems) == 2
    assert problems[0].startswith("1 of ")
    assert problems[1] == "1 events came over the stream more than once"


def test_a_campaign_without_events_is_no_success(service: DemoService) -> None:
    with service.client() as client:
        verdict = judge(client, "no-such-campaign", Counter())
    assert "0 producers are in the log, not 3" in verdict.problems
    assert any("process_lost" in problem for problem in verdict.problems)
    assert any("accuracy" in problem for problem in verdict.problems)


def test_a_service_of_the_same_home_is_used(home: Path, service: DemoService) -> None:
    second = start_service(home, service.ports)
    assert second.child is None
    assert second.ports == service.ports
    assert "already" in second.notes[0]


def test_another_homes_service_is_left_alone(tmp_path: Path, service: DemoService) -> None:
    other = start_service(tmp_path / "other", service.ports)
    try:
        assert other.child is not None
        assert not set(other.ports) & set(service.ports)
        assert len(other.notes) == 3
        assert "busy" in other.notes[0]
    finally:
        other.end_by(time.monotonic() + 5)


def test_ctrl_c_ends_everything_in_order_within_three_seconds(
    tmp_path: Path, demo_process: Any, until: Until
) -> None:
    with demo_process(tmp_path) as lab:
        lab.read_until("job_completed")
        lab.send(signal.SIGINT)
        told_at_s = time.monotonic()
        end = lab.ended(timeout_s=10)
        assert time.monotonic() - told_at_s < 3
        assert lab.left(SHIPPER) == {}
        assert until(lambda: not lab.left(), 10), lab.left()
    assert (end.returncode, end.stderr) == (0, "")
    assert "Traceback" not in end.stdout
    logs = [*tmp_path.glob("lab/*/logs/*.log"), *tmp_path.glob("logs/*.log")]
    assert logs
    assert not any("Traceback" in path.read_text() for path in logs)
    reader = LogReader(tmp_path / "vault" / "jobs.db")
    kinds = {row.event.kind for row in reader.now.page(Filters(limit=1000)).rows}
    receipts = reader.now.receipts()
    reader.close()
    assert {"training_cancelled", "worker_left"} <= kinds
    assert "process_lost" not in kinds
    assert all(receipt.complete and receipt.ended for receipt in receipts)

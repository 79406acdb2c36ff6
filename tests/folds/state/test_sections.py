"""What each section shows of a lab's day."""

from typing import Any

import msgspec
import pytest

from realm_telemetry.event import PROCESS_LOST_NUMBER, Event
from realm_telemetry.folds.state import SECTIONS, RealmState
from realm_telemetry.kinds.catalog import resolve

START_NS = 1_764_374_400 * 1_000_000_000
"""2025-11-29T00:00:00Z."""

SECOND = 1_000_000_000


class Lab:
    """Emits into a state, one second apart by default."""

    def __init__(self) -> None:
        self.state = RealmState()
        self.now_ns = START_NS
        self._cursor = 0

    def emit(
        self,
        kind: str,
        *,
        producer: str = "a" * 16,
        at_s: float | None = None,
        arrived_s: float | None = None,
        number: int | None = None,
        run_id: str | None = None,
        hero_id: str | None = None,
        campaign_id: str | None = None,
        **details: Any,
    ) -> None:
        self._cursor += 1
        self.now_ns += SECOND
        time_ns = self.now_ns if at_s is None else START_NS + int(at_s * SECOND)
        arrival = time_ns if arrived_s is None else START_NS + int(arrived_s * SECOND)
        channel, severity = resolve(kind)
        event = Event(
            kind=kind,
            channel=channel,
            severity=severity,
            message=f"{kind} happened",
            details=details,
            time_unix_nano=time_ns,
            producer=producer,
            number=number or self._cursor,
            run_id=run_id,
            hero_id=hero_id,
            campaign_id=campaign_id,
            observed_unix_nano=arrival,
        )
        self.state.apply(event, self._cursor)

    def lose(self, producer: str) -> None:
        self.emit("process_lost", producer=producer, number=PROCESS_LOST_NUMBER, service="x", pid=7)

    def section(self, name: str, after_s: float = 0) -> dict[str, Any]:
        return self.state.section(name, self.now_ns + int(after_s * SECOND))


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_an_empty_state_has_all_sections_and_is_json() -> None:
    shape = RealmState().to_dict(0)
    assert tuple(shape) == SECTIONS
    assert msgspec.json.decode(msgspec.json.encode(shape)) == shape
    assert shape["workers"] == {}
    assert shape["training"]["status"] == "idle"


def test_the_cursor_is_the_highest_that_was_applied(lab: Lab) -> None:
    lab.emit("note")
    lab.emit("note")
    assert lab.state.cursor == 2


def test_training_shows_the_current_run_and_all_runs(lab: Lab) -> None:
    lab.emit("training_started", run_id="r1", model="mlp", total_steps=100)
    lab.emit("training_step", run_id="r1", step=10, loss=0.5, learning_rate=0.1)
    lab.emit("training_step", run_id="r1", step=20, loss=0.7, tokens_per_second=9.0)
    lab.emit("training_started", run_id="r2", total_steps=10)
    lab.emit("training_step", run_id="r1", step=25, loss="NaN")
    training = lab.section("training")
    assert training["run_id"] == "r1"
    assert (training["status"], training["step"], training["loss"]) == ("running", 25, "NaN")
    assert (training["best_loss"], training["progress"]) == (0.5, 0.25)
    assert (training["learning_rate"], training["tokens_per_second"]) == (0.1, 9.0)
    assert training["started_at"] == "2025-11-29T00:00:01.000000Z"
    assert list(training["runs"]) == ["r1", "r2"]
    assert training["runs"]["r2"]["best_loss"] is None
    assert training["totals"]["training_step"] == 3


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("training_paused", "paused"),
        ("training_completed", "completed"),
        ("training_failed", "failed"),
        ("training_cancelled", "cancelled"),
    ],
)
def test_training_has_the_status_of_its_last_event(lab: Lab, kind: str, status: str) -> None:
    lab.emit("training_started")
    lab.emit(kind, error="boom")
    training = lab.section("training")
    assert training["status"] == status
    assert training[f"{status}_at"] == "2025-11-29T00:00:02.000000Z"
    assert training["error"] == ("boom" if status == "failed" else None)
    lab.emit("training_resumed", step=4)
    assert lab.section("training")["status"] == "running"


def test_a_late_event_fills_in_what_is_missing_and_overwrites_nothing(lab: Lab) -> None:
    lab.emit("training_step", step=9, loss=0.1)
    lab.emit("training_started", at_s=-900, total_steps=18, model="mlp", step=0)
    training = lab.section("training")
    assert (training["step"], training["status"], training["progress"]) == (9, "running", 0.5)
    assert training["model"] == "mlp"


def test_a_run_whose_process_is_lost_is_lost_until_another_goes_on(lab: Lab) -> None:
    lab.emit("training_step", run_id="r", step=1, loss=1.0)
    lab.lose("a" * 16)
    assert lab.section("training")["status"] == "lost"
    lab.emit("training_resumed", run_id="r", producer="b" * 16, step=1)
    assert lab.section("training")["status"] == "running"
    assert lab.section("system")["lost_processes"][0]["pid"] == 7


def test_a_job_goes_through_its_statuses(lab: Lab) -> None:
    lab.emit("job_submitted", job_id="j1", job_type="eval", priority=3)
    lab.emit("job_started", job_id="j1", job_type="eval", worker_id="w1")
    lab.emit("job_failed", job_id="j1", error="no disk", duration_s=2.5)
    lab.emit("job_submitted", job_id="j2", job_type="eval")
    lab.emit("job_completed", job_id="j3", duration_s=1.0)
    jobs = lab.section("jobs")
    assert list(jobs["jobs"]) == ["j3", "j2", "j1"]
    first = jobs["jobs"]["j1"]
    assert (first["status"], first["error"], first["duration_s"]) == ("failed", "no disk", 2.5)
    assert (first["job_type"], first["worker_id"], first["priority"]) == ("eval", "w1", 3)
    assert first["failed_at"] == "2025-11-29T00:00:03.000000Z"
    assert {status: n for status, n in jobs["counts"].items() if n} == {
        "waiting": 1,
        "failed": 1,
        "completed": 1,
    }
    assert jobs["totals"]["job_submitted"] == 2
    assert lab.section("queue")["waiting"] == 1
    lab.emit("job_started", job_id="j1")
    assert lab.section("jobs")["jobs"]["j1"]["error"] is None


def test_a_running_job_of_a_lost_process_is_lost(lab: Lab) -> None:
    lab.emit("job_started", job_id="j1", producer="b" * 16)
    lab.emit("job_completed", job_id="j2", producer="b" * 16)
    lab.lose("b" * 16)
    jobs = lab.section("jobs")
    assert jobs["jobs"]["j1"]["status"] == "lost"
    assert jobs["jobs"]["j2"]["status"] == "completed"
    assert jobs["counts"]["lost"] == 1


def test_a_worker_shows_its_last_report_and_its_age_by_arrival(lab: Lab) -> None:
    lab.emit("worker_joined", worker_id="w1", role="eval", device="cuda:0", host="h", rank=0)
    lab.emit("worker_heartbeat", worker_id="w1", status="busy", current_job="j1", gpu_memory=5)
    worker = lab.section("workers", after_s=5)["w1"]
    assert (worker["role"], worker["device"], worker["rank"]) == ("eval", "cuda:0", 0)
    assert (worker["status"], worker["current_job"]) == ("busy", "j1")
    assert (worker["age_s"], worker["stale"], worker["gpu_memory"]) == (5.0, False, 5)
    assert worker["last_heartbeat"] == "2025-11-29T00:00:02.000000Z"
    lab.emit("worker_heartbeat", worker_id="w1", status="idle")
    assert lab.section("workers")["w1"]["current_job"] is None


def test_a_worker_is_stale_sixty_seconds_after_its_last_arrival(lab: Lab) -> None:
    lab.emit("worker_heartbeat", worker_id="w1", status="busy")
    assert lab.section("workers", after_s=60)["w1"]["status"] == "busy"
    assert lab.section("workers", after_s=61)["w1"]["status"] == "stale"


def test_a_worker_whose_clock_jumped_back_is_heard_all_the_same(lab: Lab) -> None:
    lab.emit("worker_heartbeat", worker_id="w1", status="busy", at_s=5_000, arrived_s=10)
    lab.emit("worker_heartbeat", worker_id="w1", status="busy", at_s=1_000, arrived_s=70)
    lab.now_ns = START_NS + 75 * SECOND
    assert lab.section("workers")["w1"]["age_s"] == 5.0


def test_a_worker_of_a_lost_process_is_lost_until_it_comes_back(lab: Lab) -> None:
    lab.emit("worker_heartbeat", worker_id="w1", status="busy", producer="b" * 16)
    lab.lose("b" * 16)
    worker = lab.section("workers")["w1"]
    assert (worker["status"], worker["lost"]) == ("lost", True)
    lab.emit("worker_heartbeat", worker_id="w1", status="idle", producer="c" * 16)
    assert lab.section("workers")["w1"]["status"] == "idle"


def test_a_worker_that_left_is_left_and_a_removed_one_is_gone(lab: Lab) -> None:
    lab.emit("worker_heartbeat", worker_id="w1", status="busy")
    lab.emit("worker_heartbeat", worker_id="w2", status="busy")
    lab.emit("worker_left", worker_id="w1", reason="done")
    lab.emit("worker_left", worker_id="w2", removed=True)
    workers = lab.section("workers", after_s=100)
    assert list(workers) == ["w1"]
    assert (workers["w1"]["status"], workers["w1"]["reason"]) == ("left", "done")
    lab.emit("worker_heartbeat", worker_id="w2", status="busy")
    assert lab.section("workers")["w2"]["status"] == "busy"


def test_an_eval_shows_what_changed_since_the_one_before(lab: Lab) -> None:
    lab.emit("eval_completed", skill="sums", level=2, accuracy=0.5)
    lab.emit("eval_completed", skill="sums", level=3, accuracy=0.1)
    lab.emit("eval_completed", skill="sums", level=2, accuracy=0.75, step=9)
    lab.emit("eval_started", skill="sums", level=3)
    evals = lab.section("eval")
    assert list(evals["latest"]) == ["sums/3", "sums/2"]
    second = evals["latest"]["sums/2"]
    assert (second["accuracy"], second["delta"], second["previous_accuracy"]) == (0.75, 0.25, 0.5)
    third = evals["latest"]["sums/3"]
    assert (third["status"], third["accuracy"], third["delta"]) == ("running", 0.1, None)
    assert [result["accuracy"] for result in evals["recent"]] == [0.75, 0.1, 0.5]


def test_a_reported_delta_is_shown_as_it_is(lab: Lab) -> None:
    lab.emit("eval_completed", skill="sums", level=2, accuracy=0.5, delta=0.4)
    assert lab.section("eval")["latest"]["sums/2"]["delta"] == 0.4
    lab.emit("eval_completed", skill="sums", level=2, accuracy=0.25)
    lab.emit("eval_regression", skill="sums", level=2, accuracy=0.25)
    latest = lab.section("eval")["latest"]["sums/2"]
    assert latest["delta"] == -0.25
    assert latest["regressed_at"] == "2025-11-29T00:00:03.000000Z"


def test_a_suite_counts_its_results_since_it_was_triggered(lab: Lab) -> None:
    lab.emit("eval_completed", skill="old", level=1, accuracy=0.0, suite="nightly")
    lab.emit("eval_suite_triggered", suite="nightly", step=9, evals=2)
    lab.emit("eval_completed", skill="a", level=1, accuracy=0.5, suite="nightly")
    lab.emit("eval_completed", skill="b", level=1, accuracy=1.0, suite="nightly")
    suite = lab.section("eval")["suites"]["nightly"]
    assert (suite["completed"], suite["mean_accuracy"], suite["evals"]) == (2, 0.75, 2)


def test_checkpoints_show_latest_best_and_champion(lab: Lab) -> None:
    lab.emit("checkpoint_saved", step=100, loss=0.2, path="c/100", run_id="r")
    lab.emit("checkpoint_saved", step=200, loss=0.3, path="c/200")
    lab.emit("checkpoint_promoted", step=100, accuracy=0.9)
    lab.emit("checkpoint_deleted", step=200)
    checkpoints = lab.section("checkpoints")
    assert (checkpoints["latest"]["step"], checkpoints["latest"]["status"]) == (200, "deleted")
    assert (checkpoints["best"]["step"], checkpoints["best_loss"]) == (100, 0.2)
    champion = checkpoints["champion"]
    assert (champion["step"], champion["loss"], champion["accuracy"]) == (100, 0.2, 0.9)
    assert (champion["status"], champion["run_id"]) == ("promoted", "r")
    assert [one["step"] for one in checkpoints["recent"]] == [200, 100]


def test_data_guild_and_vault_show_what_was_reported(lab: Lab) -> None:
    lab.emit("dataset_generated", dataset="sums", examples=100)
    lab.emit("curriculum_updated", skill="sums", level=3)
    lab.emit("forge_batch_ready", batch_id="b1", examples=8)
    lab.emit("hero_updated", hero_id="dio", name="Dio", level=4)
    lab.emit("title_earned", hero_id="dio", title="Sum Slayer")
    lab.emit("skill_level_up", hero_id="dio", skill="sums", level=3)
    lab.emit("achievement", hero_id="dio", name="First blood")
    lab.emit("campaign_milestone", campaign_id="c1", milestone="half", step=50)
    lab.emit("lore_recorded", title="The beginning")
    lab.emit("vault_sync", files=3, size_bytes=10)
    lab.emit("vault_archived", path="c/100", size_bytes=7)
    data, guild, vault = (lab.section(name) for name in ("data", "guild", "vault"))
    assert data["datasets"]["sums"]["examples"] == 100
    assert data["curriculum"]["sums"]["level"] == 3
    assert data["batches"]["b1"]["ready_at"] == "2025-11-29T00:00:03.000000Z"
    hero = guild["heroes"]["dio"]
    assert (hero["name"], hero["level"], hero["title"]) == ("Dio", 4, "Sum Slayer")
    assert guild["skills"]["dio"]["sums"]["level"] == 3
    assert guild["achievements"][0]["name"] == "First blood"
    assert guild["milestones"][0]["campaign_id"] == "c1"
    assert guild["lore"][0]["title"] == "The beginning"
    assert (vault["last_sync"]["files"], vault["last_cleanup"]) == (3, None)
    assert vault["archived"][0]["path"] == "c/100"


def test_system_shows_services_mode_notices_and_counts(lab: Lab) -> None:
    lab.emit("server_started", service="trainer", address=":1", producer="b" * 16)
    lab.emit("server_started", service="gateway")
    lab.emit("server_stopped", service="gateway", reason="done")
    lab.emit("mode_changed", mode="night", previous="day")
    lab.emit("warning_raised", warning="hot")
    lab.emit("job_failed", job_id="j", error="boom")
    lab.lose("b" * 16)
    system = lab.section("system")
    assert system["services"]["trainer"]["status"] == "lost"
    assert system["services"]["gateway"]["status"] == "stopped"
    assert (system["mode"], system["previous_mode"]) == ("night", "day")
    assert [notice["kind"] for notice in system["warnings"]] == ["warning_raised"]
    assert [notice["kind"] for notice in system["errors"]] == ["process_lost", "job_failed"]
    assert system["counts"]["events"] == 7
    assert system["counts"]["by_severity"] == {"info": 2, "success": 2, "warning": 1, "error": 2}
    assert system["counts"]["by_channel"]["jobs"] == 1


def test_the_queue_shows_its_reported_depth(lab: Lab) -> None:
    lab.emit("queue_backlog", depth=40, oldest_age_s=7.5)
    lab.emit("queue_backlog", depth=20)
    queue = lab.section("queue")
    assert (queue["depth"], queue["oldest_age_s"]) == (20, None)


def test_an_updated_section_shows_the_newer_of_both_ways(lab: Lab) -> None:
    lab.emit("training_step", step=1, loss=0.5)
    lab.emit("section_updated", section="training", data={"step": 7, "gpu": "hot", "runs": 1})
    training = lab.section("training")
    assert (training["step"], training["gpu"], training["loss"]) == (7, "hot", 0.5)
    assert isinstance(training["runs"], dict)
    lab.emit("training_step", step=8, loss=0.5)
    assert lab.section("training")["step"] == 8


def test_updated_workers_are_merged_by_their_ids(lab: Lab) -> None:
    lab.emit(
        "section_updated",
        section="workers",
        data={"w1": {"role": "eval", "status": "busy", "tasks": 3}, "w2": "not an object"},
    )
    workers = lab.section("workers")
    assert list(workers) == ["w1"]
    assert (workers["w1"]["role"], workers["w1"]["tasks"]) == ("eval", 3)


def test_a_section_nobody_knows_is_kept(lab: Lab) -> None:
    lab.emit("section_updated", section="arena", data={"a": 1, "b": {"c": 2}})
    lab.emit("section_updated", section="arena", data={"a": 3})
    assert lab.section("arena") == {"a": 3, "b": {"c": 2}}
    assert lab.state.to_dict(0)["arena"] == {"a": 3, "b": {"c": 2}}
    with pytest.raises(KeyError):
        lab.section("nowhere")


@pytest.mark.parametrize("details", [{}, {"section": "a"}, {"section": 3, "data": []}])
def test_an_update_without_section_or_data_changes_nothing(
    lab: Lab, details: dict[str, Any]
) -> None:
    lab.emit("section_updated", **details)
    assert tuple(lab.state.to_dict(0)) == SECTIONS


def test_values_are_kept_within_bounds(lab: Lab) -> None:
    data = {"text": "x" * 9_999, "list": list(range(20_000)), "number": 2**70}
    lab.emit("section_updated", section="arena", data=data)
    arena = lab.section("arena")
    assert len(arena["text"]) == 2_000
    assert arena["list"]["truncated"] is True
    assert arena["number"] == str(2**70)
    assert RealmState.load(lab.state.dump()).section("arena", 0) == arena

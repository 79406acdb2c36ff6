"""Snapshots that version 0.1.0 saved, and the events that it had folded.

`golden/` has `realm_state.db` and `realm_measures.db`, which cover `events()[:300]` as rows 1 to
300 of a log with the id `LOG_ID`, and `state.json` and `metrics.json`, what that version then
showed at `NOW_NS`.
"""

import json
from pathlib import Path
from typing import Any, Final

from realm_telemetry.event import Event

HERE: Final = Path(__file__).parent / "golden"
LOG_ID: Final = "ab" * 16
COVERED: Final = 300
NOW_NS: Final = 1_764_400_000_000_000_000

KINDS: Final = (
    *("training_started", "training_step", "training_step", "training_step", "lr_changed"),
    *("training_paused", "training_resumed", "training_completed", "training_failed"),
    *("training_cancelled", "job_submitted", "job_claimed", "job_started", "job_completed"),
    *("job_failed", "job_cancelled", "job_retried", "worker_joined", "worker_heartbeat"),
    *("worker_heartbeat", "worker_left", "worker_stale", "eval_started", "eval_completed"),
    *("eval_completed", "eval_failed", "eval_cancelled", "eval_regression"),
    *("eval_suite_triggered", "checkpoint_saved", "checkpoint_promoted", "checkpoint_archived"),
    *("checkpoint_deleted", "ledger_updated", "dataset_generated", "curriculum_updated"),
    *("forge_batch_ready", "hero_updated", "title_earned", "skill_level_up", "achievement"),
    *("campaign_milestone", "lore_recorded", "vault_sync", "vault_archived", "vault_cleanup"),
    *("retention_applied", "server_started", "server_stopped", "mode_changed"),
    *("config_reloaded", "warning_raised", "section_updated", "queue_backlog", "process_lost"),
    *("note", "section_updated"),
)
_SECTIONS: Final = ("training", "workers", "arena", "queue", "guild")
_SEVERITIES: Final = ("info", "success", "warning", "error")


def events(count: int = 400) -> list[Event]:
    """Events of every kind that a section keeps; by arithmetic, so that they never change."""
    return [_event(number) for number in range(1, count + 1)]


def _event(number: int) -> Event:
    kind = KINDS[number * 11 % len(KINDS)]
    return Event(
        kind=kind,
        channel=("training", "jobs", "system", "evaluation")[number % 4],
        severity=_SEVERITIES[number * 5 % 7 % 4],
        message=f"{kind} {number}",
        details=_details(number),
        time_unix_nano=1_764_390_000_000_000_000 + number * 7_919 % 401 * 1_000_000_000,
        producer=f"{number % 6 + 1:016x}",
        number=number,
        hero_id=(None, "dio", "ada")[number % 3],
        campaign_id=(None, "first")[number // 3 % 2],
        run_id=(None, "r1", "r2", "r3", "r4")[number % 5],
        source=(None, "trainer")[number % 2],
        observed_unix_nano=1_764_391_000_000_000_000 + number * 1_000_000_000,
    )


def _details(number: int) -> dict[str, Any]:
    given: dict[str, Any] = {
        "step": number * 10,
        "total_steps": 5_000,
        "loss": "NaN" if number % 9 == 0 else 100 / number,
        "learning_rate": 1 / (1_000 + number),
        "tokens_per_second": number * 100.5,
        "job_id": f"j{number % 23}",
        "job_type": ("eval", "train")[number % 2],
        "worker_id": f"w{number % 7}",
        "current_job": f"j{number % 5}",
        "status": ("busy", "idle")[number % 2],
        "gpu_memory": number % 13,
        "removed": number % 17 == 0,
        "skill": ("sums", "words")[number % 2],
        "level": number % 4,
        "accuracy": number % 100 / 100,
        "delta": number % 10 / 10,
        "suite": ("nightly", "weekly")[number % 2],
        "duration_s": number / 3,
        "path": f"p/{number % 11}",
        "error": "boom",
        "reason": "because",
        "title": f"title {number % 4}",
        "name": f"name {number % 3}",
        "text": "x" * (number % 50),
        "service": f"s{number % 4}",
        "dataset": f"d{number % 5}",
        "batch_id": f"b{number % 5}",
        "examples": number,
        "depth": number % 40,
        "oldest_age_s": number / 7,
        "entries": number,
        "files": number,
        "freed_bytes": number * 1_000,
        "mode": ("night", "day")[number % 2],
        "milestone": f"m{number % 3}",
        "section": _SECTIONS[number % len(_SECTIONS)],
        "data": {f"w{number % 3}": {"role": "eval", "tasks": number}, "step": number},
    }
    return {
        name: value for place, (name, value) in enumerate(given.items()) if _is_in(number, place)
    }


def _is_in(number: int, place: int) -> bool:
    # Each detail is absent from every seventh event, so that defaults are seen too.
    return (number + place) % 7 != 0


def expected(name: str) -> Any:
    """What version 0.1.0 showed: `state` or `metrics`."""
    return json.loads((HERE / f"{name}.json").read_text("utf-8"))

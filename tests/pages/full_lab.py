"""A lab that has as much as a page is ever asked to show."""

import math
import random
from pathlib import Path
from typing import Any

from .conftest import Lab, note
from .run_stories import Runs, S, every_kind

DOCUMENTS = 10_000
JOBS = 40
WORKERS = 30
RANKS = 512
METRICS = 40
SWEEP = tuple(f"gpt-small-lr{rate}" for rate in ("1e-4", "2e-4", "3e-4", "6e-4", "1e-3", "2e-3"))
RTL_MESSAGE = "اكتمل التقييم بدقة ٩٢٪ بعد ٤٠٠ خطوة"
LONG_WORD = "x" * 400
SETTINGS = """
[options.webhook]
allow_hosts = ["127.0.0.1"]
[options.webhook.targets.lab]
url = "http://127.0.0.1:9/SECRET"
[[options.webhook.rules]]
name = "failures"
to = "lab"
kind = "job_failed"
cooldown = "1h"
"""


def write_settings(home: Path) -> None:
    """Alerts with a target that nobody answers at; before the service starts."""
    (home / "realm.toml").write_text(SETTINGS)


def fill(lab: Lab) -> None:
    """Store everything."""
    runs = every_kind(lab)
    _sweep(runs)
    _metrics(runs)
    _ranks(runs)
    runs.store(lab)
    for first in range(0, DOCUMENTS, 2_000):
        lab.post([_document(runs.began, number) for number in range(first + 1, first + 2_001)])
    lab.post(_workers(runs.began) + _jobs(runs.began) + _guild(runs.began))


def _sweep(runs: Runs) -> None:
    """Six trainings that differ in their learning rate; the greatest diverges, one fails."""
    chance = random.Random(7)
    for place, name in enumerate(SWEEP):
        ago_s, rate = 7_200.0 + 900 * place, float(name.rsplit("lr", maxsplit=1)[1])
        facts = {
            "command": f"python train.py --config small.yaml --lr {rate}",
            "cwd": "/home/ada/gpt",
            "host": f"gpu-{place % 2 + 1}",
            "git_commit": "4f2a91c",
        }
        runs.add(name, "run_started", ago_s, details=facts)
        config = {"lr": rate, "batch_size": 64, "model": {"layers": 12, "width": 768}, "seed": 17}
        runs.add(name, "run_config", ago_s, details=config)
        last = 620 if place == 3 else 1_000
        for step in range(0, last, 5):
            runs.add(name, "training_step", ago_s - step, details=_step(chance, rate, step, place))
        for step in range(200, last, 200):
            saved = {"step": step, "path": f"/ckpt/{name}/{step}.pt", "loss": 3.0}
            runs.add(name, "checkpoint_saved", ago_s - step, details=saved)
            runs.add(name, "evaluation_started", ago_s - step)
            runs.add(name, "evaluation_finished", ago_s - step - 20, details={"loss": 3.1})
        for at in range(0, last, 20):
            runs.add(name, "resource_sampled", ago_s - at, details=_sample(chance, at))
        if place == 3:
            runs.raised(name, ago_s - last)
            runs.ended(name, ago_s - last, "failed", "IndexError: index 4096 is out of bounds for"
                       " axis 0 with size 4096", peak_rss_bytes=12 * 2**30)  # fmt: skip
        else:
            runs.ended(name, ago_s - last, "completed")


def _step(chance: random.Random, rate: float, step: int, place: int) -> dict[str, Any]:
    loss: Any = 2.6 + 7.5 * math.exp(-step * rate * 60) + chance.gauss(0, 0.05)
    if place == 5 and step > 700:
        loss = "NaN"
    return {
        "step": step,
        "total_steps": 1_000,
        "loss": loss,
        "learning_rate": rate * min(1.0, step / 100) * (1 - step / 1_100),
        "train/accuracy": 0.62 * (1 - math.exp(-step * rate * 40)) + chance.gauss(0, 0.004),
        "train/grad_norm": 0.4 + 2.2 * math.exp(-step / 150) + abs(chance.gauss(0, 0.1)),
        "train/tokens_per_second": 41_000 + chance.gauss(0, 700),
        "eval/loss": 2.75 + 7.3 * math.exp(-step * rate * 55),
        "eval/perplexity": math.exp(2.75 + 2 * math.exp(-step * rate * 55)),
    }


def _sample(chance: random.Random, at: int) -> dict[str, Any]:
    gpu = {"index": 0, "utilization_percent": 92 + chance.gauss(0, 2), "temperature_c": 71.0,
           "memory_used_bytes": 61 * 2**30, "power_w": 640 + chance.gauss(0, 9)}  # fmt: skip
    rss = (9 + at / 400) * 2**30
    return {"rss_bytes": int(rss), "cpu_percent": 210 + chance.gauss(0, 12), "gpus": [gpu]}


def _metrics(runs: Runs) -> None:
    """A training that goes on and reports forty numbers."""
    chance = random.Random(3)
    details = {"command": "python pretrain.py", "host": "gpu-1", "cwd": "/home/ada/gpt"}
    runs.add("pretrain-40-metrics", "run_started", 620, details=details)
    for step in range(0, 600, 3):
        values = {
            f"{('train', 'eval', 'router')[number % 3]}/number_{number:02}": math.sin(
                step / (20 + number)
            ) + chance.gauss(0, 0.05)
            for number in range(METRICS - 1)
        }  # fmt: skip
        values |= {"step": step, "total_steps": 2_000, "loss": 8 / (1 + step / 50)}
        runs.add("pretrain-40-metrics", "training_step", 610 - step, details=values)


def _ranks(runs: Runs) -> None:
    """A training over 512 processes, one of which is gone and some of which are behind."""
    for rank in range(RANKS):
        details = {"world_size": RANKS, "host": f"node-{rank // 8}"}
        runs.add("wide-512-ranks", "run_started", 100, rank, details=details)
        step = 60 if rank == 77 else 100 - rank % 3
        values = {"step": step, "loss": 1.5 + rank / 5_000, "total_steps": 1_000}
        runs.add("wide-512-ranks", "training_step", 1, rank, details=values)
    runs.ended("wide-512-ranks", 1, "killed", "SIGKILL", rank=200)


def _document(began: int, number: int) -> dict[str, Any]:
    texts = (f"Loaded shard {number} of 10,000", RTL_MESSAGE, f"Shard {number} is `sorted`",
             f"A very long word: {LONG_WORD}", "4,096 tokens in a document on average")  # fmt: skip
    severity = ("info", "info", "success", "warning", "info")[number % 5]
    given = {"kind": "shard_loaded", "message": texts[number % 5], "severity": severity}
    if number % 25 == 0:
        given |= {"message": f"Shard {number} is damaged: checksum differs", "severity": "error"}
    at = str(began - (DOCUMENTS - number) * 8 * S)
    return note(number, channel="data", producer="f0000000000000ee", time_unix_nano=at, **given)


def _workers(began: int) -> list[dict[str, Any]]:
    return [
        note(1, kind="worker_heartbeat", producer=f"{0xF00000 + worker:016x}",
             message=f"Worker scout-{worker} is busy",
             time_unix_nano=str(began - (300 * S if worker == 4 else S)),
             details={"worker_id": f"scout-{worker}", "role": "scout", "status": "busy",
                      "device": f"cuda:{worker % 8}"})
        for worker in range(WORKERS)
    ]  # fmt: skip


def _jobs(began: int) -> list[dict[str, Any]]:
    ends = ("submitted", "claimed", "started", "completed", "failed")
    return [
        note(number + 1, kind=f"job_{ends[number % 5]}", producer="f0000000000000cc",
             message=f"Job eval-{number} {ends[number % 5]} (evaluation)", channel="jobs",
             time_unix_nano=str(began - S), severity="error" if number % 5 == 4 else "info",
             details={"job_id": f"eval-{number}", "job_type": "evaluation",
                      "worker_id": f"scout-{number % WORKERS}", "duration_s": 12.5 + number,
                      "error": "CUDA out of memory"})
        for number in range(JOBS)
    ]  # fmt: skip


def _guild(began: int) -> list[dict[str, Any]]:
    shapes: list[dict[str, Any]] = []

    def add(
        kind: str, channel: str, message: str, hero: str = "digit-sage", **details: Any
    ) -> None:
        shapes.append(note(len(shapes) + 1, kind=kind, channel=channel, producer="f0000000000000dd",
                           message=message, hero_id=hero, campaign_id="digits-2",
                           time_unix_nano=str(began - S), details=details))  # fmt: skip

    add("hero_updated", "guild", "Hero digit-sage updated", name="Digit Sage", level=7, xp=4_200)
    add("title_earned", "guild", "Title earned: Reader of Sevens", title="Reader of Sevens")
    add("skill_level_up", "guild", "Skill level up", skill="digits", level=4)
    add(
        "hero_updated", "guild", "Hero word-smith updated", "word-smith", name="Word Smith", level=2
    )
    for skill, accuracy in (("digits", 0.971), ("letters", 0.884)):
        add("eval_completed", "eval", f"Eval of {skill}", skill=skill, level=3, accuracy=accuracy,
            delta=0.012)  # fmt: skip
    add("checkpoint_promoted", "checkpoint", "Checkpoint promoted", step=800, accuracy=0.971,
        path="/ckpt/gpt-small-lr3e-4/800.pt")  # fmt: skip
    return shapes

"""Runs of every kind, as events: what the pages of runs are tried with."""

import time
from typing import Any

from .conftest import Lab, note

S = 1_000_000_000
STEPS = 40

TRACEBACK = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/home/ada/lab/train.py", line 88, in <module>
    main()
  File "/home/ada/lab/train.py", line 61, in main
    trainer.fit(model, loader)
  File "/opt/venv/lib/python3.12/site-packages/lightning/trainer.py", line 540, in fit
    call._call_and_handle_interrupt(self, self._fit_impl)
  File "/opt/venv/lib/python3.12/site-packages/lightning/call.py", line 49, in _call
    return trainer_fn(*args, **kwargs)
  File "/home/ada/lab/data.py", line 31, in __getitem__
    return self.tokens[index]
IndexError: index 4096 is out of bounds for axis 0 with size 4096
"""

LONG_ID = "sweep/learning-rate/" + "abcdefghij" * 23 + "/🚀🚀"
RTL_ID = "تدريب-النموذج/٧"
MARKUP_ID = "<img src=x onerror=alert(1)>"


class Runs:
    """Events of many runs; the processes of a run are producers of their own."""

    def __init__(self) -> None:
        self._shapes: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._producers: dict[tuple[str, int | None], str] = {}
        self.began = time.time_ns()

    def add(
        self, run: str, kind: str, ago_s: float, rank: int | None = None, **fields: Any
    ) -> None:
        """One event of a run, so many seconds ago."""
        producer = self._producers.setdefault((run, rank), f"{len(self._producers) + 1:016x}")
        number = self._numbers[producer] = self._numbers.get(producer, 0) + 1
        given = {"kind": kind, "run_id": run, "rank": rank, "producer": producer}
        given["time_unix_nano"] = str(self.began - int(ago_s * S))
        self._shapes.append(note(number, message=fields.pop("message", kind), **(given | fields)))

    def training(
        self, run: str, ago_s: float, *, steps: int = STEPS, rank: int | None = None, **facts: Any
    ) -> None:
        """A start and some steps, one a second; with a checkpoint halfway."""
        details = {"command": "python train.py --lr 3e-4", "cwd": "/home/ada/lab", "host": "node-1"}
        self.add(run, "run_started", ago_s, rank, details=details | facts.pop("started", {}))
        config = {"lr": 0.0003, "batch_size": 64, "seed": 9007199254740993}
        self.add(run, "run_config", ago_s, rank, details=config)
        not_finite_from = facts.pop("not_finite_from", steps + 1)
        for step in range(1, steps + 1):
            loss: Any = "NaN" if step >= not_finite_from else 2.0 / step + 0.1
            values = {"step": step, "loss": loss, "total_steps": 100, "learning_rate": 3e-4}
            values |= {"train/accuracy": 1 - 1 / step, "eval/loss": 2.2 / step}
            self.add(run, "training_step", ago_s - step, rank, details=values)
            if step == steps // 2:
                saved = {"step": step, "loss": 2.0 / step + 0.1, "path": f"/ckpt/{step}.pt"}
                self.add(run, "checkpoint_saved", ago_s - step, rank, details=saved)

    def sampled(self, run: str, ago_s: float, rank: int | None = None) -> None:
        """What the machine had, for half a minute."""
        for at in range(3):
            details = {"rss_bytes": (4 + at) * 2**30, "cpu_percent": 180.0 + at}
            gpu = {"index": 0, "utilization_percent": 91.0, "memory_used_bytes": 60 * 2**30}
            self.add(
                run, "resource_sampled", ago_s - 10 * at, rank, details=details | {"gpus": [gpu]}
            )

    def ended(
        self, run: str, ago_s: float, status: str, reason: str | None = None, **fields: Any
    ) -> None:
        """The end of a process."""
        rank = fields.pop("rank", None)
        severity = "success" if status == "completed" else "error"
        details = {"status": status, "reason": reason, **fields}
        message = f"Run {status} ({reason})" if reason else f"Run {status}"
        self.add(run, "run_ended", ago_s, rank, details=details, severity=severity, message=message)

    def raised(self, run: str, ago_s: float, rank: int | None = None, **fields: Any) -> None:
        """An exception that nobody caught."""
        error = "IndexError: index 4096 is out of bounds for axis 0 with size 4096"
        details = {"error": error, "error_type": "IndexError", "traceback": TRACEBACK}
        details |= {"thread": "MainThread"} | fields
        self.add(
            run,
            "uncaught_exception",
            ago_s,
            rank,
            details=details,
            severity="error",
            message=f"Uncaught {error} (MainThread)",
        )

    def store(self, lab: Lab) -> None:
        """Post what was added since the last time."""
        shapes, self._shapes = self._shapes, []
        for first in range(0, len(shapes), 2000):
            lab.post(shapes[first : first + 2000])


def every_kind(lab: Lab) -> Runs:
    """One run of each kind."""
    runs = Runs()
    runs.training("llama-ft-running", 41)
    runs.sampled("llama-ft-running", 35)
    runs.training("stalled-run", 900)
    runs.add("stalled-run", "run_stalled", 300, details={"silent_s": 560.0, "threshold_s": 120.0},
             message="No step for 9 min; a step usually takes 1 s", severity="error")  # fmt: skip
    for rank in range(8):
        runs.training("gpt-8-ranks", 4_000, rank=rank, started={"world_size": 8})
    runs.raised("gpt-8-ranks", 3_950, rank=5)
    reason = "IndexError: index 4096 is out of bounds for axis 0 with size 4096"
    runs.ended("gpt-8-ranks", 3_949, "failed", reason, rank=5, evidence={"exception": reason})
    for rank in (0, 1, 2, 3, 4, 6, 7):
        runs.ended("gpt-8-ranks", 3_940, "failed", "RuntimeError: Connection closed by peer",
                   rank=rank)  # fmt: skip
    runs.training("oom-run", 8_000)
    runs.ended("oom-run", 7_950, "out_of_memory", "the container reached its memory limit",
               evidence={"signal": "SIGKILL", "memory_share": 0.998, "oom_kills": 1},
               peak_rss_bytes=64 * 2**30)  # fmt: skip
    runs.training("nan-run", 9_000, not_finite_from=30)
    runs.add("nan-run", "loss_not_finite", 8_970, severity="error",
             details={"field": "loss", "step": 30, "value": "NaN"},
             message="loss is NaN at step 30")  # fmt: skip
    runs.ended("nan-run", 8_950, "completed")
    runs.training("well-done", 20_000)
    runs.ended("well-done", 19_950, "completed")
    runs.training("stopped-by-hand", 30_000)
    runs.ended("stopped-by-hand", 29_950, "cancelled", "SIGINT")
    for name in (LONG_ID, RTL_ID, MARKUP_ID):
        runs.training(name, 50_000, steps=5)
        runs.ended(name, 49_990, "killed", "SIGKILL, sender unknown")
    runs.store(lab)
    return runs

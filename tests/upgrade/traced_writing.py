"""A fixed series of writes to a log; run by `test_log_writes.py`.

Arguments: the writer's class as `module:name`, and the path of the log.
"""

import importlib
import sys
from pathlib import Path

from realm_telemetry import Event

PIPELINE = "0123456789ab"


def event(number: int) -> Event:
    return Event(
        kind="job_started",
        channel="jobs",
        severity="info",
        message=f"Job {number} started",
        details={"job_id": f"j{number}"},
        time_unix_nano=1_764_374_400_000_000_000 + number,
        producer="00112233445566aa",
        number=number,
        webhooks=("http://127.0.0.1:9/hook",) if number == 3 else (),
    )


module, name = sys.argv[1].split(":")
with getattr(importlib.import_module(module), name)(Path(sys.argv[2])) as writer:
    writer.append([event(1), event(2)], pipeline=PIPELINE)
    writer.append([event(2), event(3)], pipeline=PIPELINE)
    writer.append([event(3)], pipeline=PIPELINE)
    writer.record_receipt("00112233445566aa", emitted=3, dropped=0, ended=True)
    writer.save_cursor(PIPELINE, "jsonl", 2)
    writer.add_dead_letter(PIPELINE, "jsonl", 2, "HTTP 400")
    writer.drop_cursor(PIPELINE, "jsonl")
    writer.backfill_step(100)

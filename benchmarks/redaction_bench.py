"""What redaction costs an event on its way into the log.

Run: python -m benchmarks redaction
"""

import time
from collections.abc import Sequence

from msgspec.structs import replace

from benchmarks.log_bench import make_events
from benchmarks.measure import Figure, at_most
from realm_telemetry.event import Event
from realm_telemetry.redaction import Redactor

COUNT = 10_000
BATCH = 1000
ROUNDS = 9


def microseconds(redact: Redactor, events: Sequence[Event]) -> float:
    """Processor time for an event, the best of several rounds: other work does not count."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for start in range(0, len(events), BATCH):
            redact.batch(events[start : start + BATCH])
        best = min(best, time.process_time() - began)
    return best / len(events) * 1e6


def figures() -> list[Figure]:
    """Events without a secret, of which nearly all are, and with one."""
    plain = list(make_events(COUNT))
    counting = [
        replace(event, message=f"Step {event.number:,}: loss 0.2340, 51,234 tokens/s, 8 GPUs")
        for event in plain
    ]
    leaking = [
        replace(event, message="login password=hunter2x", details=event.details | {"token": "x1"})
        for event in plain[:BATCH]
    ]
    redact = Redactor()
    return [
        at_most("redaction of an event, 5 details", microseconds(redact, plain), 3.0, "us"),
        at_most("... that speaks of tokens a second", microseconds(redact, counting), 6.0, "us"),
        at_most("... with two secrets", microseconds(redact, leaking), 200.0, "us"),
    ]

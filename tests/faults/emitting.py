"""A producer that takes commands: a JSON command a line on stdin, an answer a line on stdout.

Argument: the settings for `configure` as JSON; `clock_shift_s` among them sets this process's
wall clock off, as a clock that was never set or has stepped.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

real_time_ns = time.time_ns
shift_ns = 0


def shifted_time_ns() -> int:
    return real_time_ns() + shift_ns


def set_clock(shift_s: float) -> dict[str, float]:
    """Step the wall clock of this process."""
    global shift_ns
    shift_ns = int(shift_s * 1e9)
    return {"shift_s": shift_s}


settings = json.loads(sys.argv[1])
if "clock_shift_s" in settings:
    set_clock(settings.pop("clock_shift_s"))
    time.time_ns = shifted_time_ns

import realm_telemetry as realm  # noqa: E402 - it takes the clock's functions when imported


def emit(
    count: int,
    pace_s: float = 0.0,
    seconds: float = 60.0,
    size: int = 20,
    kind: str = "note",
    severity: str = "info",
    **details: object,
) -> dict[str, object]:
    """Emit up to `count` events in up to `seconds`; ids of those that were kept."""
    ids, dropped, slowest_s = [], 0, 0.0
    began = time.perf_counter()
    for index in range(count):
        before = time.perf_counter()
        event = realm.emit(
            kind,
            f"Event {index}",
            severity=severity,
            details={"index": index, "text": "x" * size, **details},
        )
        after = time.perf_counter()
        slowest_s = max(slowest_s, after - before)
        if event.number:
            ids.append(event.id)
        else:
            dropped += 1
        if after - began > seconds:
            break
        if pace_s:
            time.sleep(pace_s)
    total_s = time.perf_counter() - began
    return {"ids": ids, "dropped": dropped, "slowest_s": slowest_s, "total_s": total_s}


def flush(timeout_s: float) -> dict[str, object]:
    """Flush; whether all is delivered, and why not."""
    began = time.perf_counter()
    return {
        "delivered": realm.flush(timeout_s),
        "problem": realm.flush_problem(),
        "took_s": time.perf_counter() - began,
    }


def main() -> None:
    began = time.perf_counter()
    telemetry = realm.configure(service_name="hostile", **settings)
    assert telemetry is not None
    commands: dict[str, Callable[..., Any]] = {"emit": emit, "flush": flush, "set_clock": set_clock}
    hello = {
        "producer": telemetry.producer,
        "pipeline_dir": str(telemetry.pipeline_dir),
        "configure_s": time.perf_counter() - began,
    }
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(commands[command.pop("do")](**command)), flush=True)


if __name__ == "__main__":
    main()

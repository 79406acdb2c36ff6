"""Emits with a span active, in tasks, threads and a signal handler at once.

Arguments: home, seconds. Prints the ids of all events, one a line; each event's details hold
the trace and span it was emitted in, as the code that emits it sees them.
"""

import asyncio
import signal
import sys
import threading
import time
from types import FrameType

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import realm_telemetry as realm

HOME, SECONDS = sys.argv[1], float(sys.argv[2])
provider = TracerProvider()
tracer = provider.get_tracer("hostile")
ids: list[str] = []
end = time.monotonic() + SECONDS


def emit(where: str) -> None:
    context = trace.get_current_span().get_span_context()
    active = context.is_valid
    event = realm.emit(
        "note",
        where,
        where=where,
        trace=f"{context.trace_id:032x}" if active else None,
        span=f"{context.span_id:016x}" if active else None,
        flags=int(context.trace_flags) if active else 0,
    )
    ids.append(event.id)


def on_alarm(number: int, frame: FrameType | None) -> None:
    emit("signal")


def thread(name: str) -> None:
    while time.monotonic() < end:
        with tracer.start_as_current_span(name):
            emit(name)
            with tracer.start_as_current_span("inner"):
                emit(name)
            time.sleep(0.0005)
        emit(name)


async def task(name: str) -> None:
    while time.monotonic() < end:
        with tracer.start_as_current_span(name):
            emit(name)
            await asyncio.sleep(0.001)
            emit(name)


async def tasks() -> None:
    await asyncio.gather(*(task(f"task {number}") for number in range(4)))


def main() -> None:
    realm.configure(service_name="spans", home=HOME, exporters=["battle_log", "jsonl"])
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.003)
    threads = [threading.Thread(target=thread, args=(f"thread {n}",)) for n in range(3)]
    for each in threads:
        each.start()
    asyncio.run(tasks())
    for each in threads:
        each.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    realm.flush(60)
    print("\n".join(ids))


if __name__ == "__main__":
    main()

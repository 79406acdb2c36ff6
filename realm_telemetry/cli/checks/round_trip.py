"""One event all the way: emitted, stored, seen."""

import time
from collections.abc import Callable, Iterator
from typing import Final

import realm_telemetry as telemetry
from realm_telemetry.cli.checks.check import Finding, Subject
from realm_telemetry.client import ServiceError
from realm_telemetry.errors import LogError
from realm_telemetry.event import Event
from realm_telemetry.log import LogReader

POLL_S: Final = 0.005
MESSAGE: Final = "realm doctor was here"


def check_round_trip(subject: Subject) -> Iterator[Finding]:
    """Emit a note on the debug channel and wait until the log, then the service, has it."""
    started_s = time.monotonic()
    try:
        begun = telemetry.configure(service_name="realm_doctor", home=subject.settings.home)
        if begun is None:
            message = "OTEL_SDK_DISABLED is set: nothing is emitted on this machine"
            yield Finding("round trip", "warning", message, "Unset it to emit events.")
            return
        event = telemetry.emit("note", MESSAGE, channel="debug", source="realm.doctor")
        stored = _wait(lambda: _in_log(subject, event), subject.timeout_s)
        why = None if stored else _why()
    finally:
        telemetry.shutdown()
    if why is not None:
        message = f"the event was not in the log after {subject.timeout_s:g} s: {why}"
        yield Finding("round trip", "problem", message, "See the lines above.")
        return
    message = f"in the log after {_since_ms(started_s):,.0f} ms"
    if not subject.service_has_log:
        yield Finding("round trip", "ok", message)
    elif _wait(lambda: _in_service(subject, event), subject.timeout_s):
        message = f"{message}, seen at the service after {_since_ms(started_s):,.0f} ms"
        yield Finding("round trip", "ok", message)
    else:
        message = f"{message}, but not seen at the service within {subject.timeout_s:g} s"
        yield Finding("round trip", "problem", message, "Restart it; its output says more.")


def _why() -> str:
    telemetry.flush(0.0)
    return telemetry.flush_problem() or "nothing says why"


def _in_log(subject: Subject, event: Event) -> bool:
    if not subject.settings.log_path.exists():
        return False
    try:
        with LogReader(subject.settings.log_path) as reader:
            return reader.now.get(event.id) is not None
    except LogError:  # it is being made, or the lines above have told what is wrong
        return False


def _in_service(subject: Subject, event: Event) -> bool:
    try:
        live = subject.client.events(producer=event.producer)
    except ServiceError:
        return False
    return any(row.event.id == event.id for row in live)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def _since_ms(started_s: float) -> float:
    return (time.monotonic() - started_s) * 1000

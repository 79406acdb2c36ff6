"""A replay keeps the time between events, and is patient with a busy service."""

from typing import Any

import pytest

from realm_telemetry.client import (
    ServiceError,
)
from realm_telemetry.transfer.formats import Exported
from realm_telemetry.transfer.replay import LONGEST_SILENCE_S, paced, with_retry
from realm_telemetry.transfer.source import Step

from .conftest import SECOND, make_event


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now_s += seconds


def steps_at(*seconds: float) -> list[Step]:
    rows = [
        Exported(make_event(n, time_unix_nano=round(at * SECOND)), n, {})
        for n, at in enumerate(seconds, 1)
    ]
    return [Step(rows[:2], 0.5), Step(rows[2:], 1.0)]


def test_a_speed_keeps_the_time_between_events() -> None:
    time_of = Time()
    batches = list(
        paced(steps_at(0, 1, 3, 3.001, 2), 10.0, sleep=time_of.sleep, clock=time_of.clock)
    )
    assert time_of.slept == [0.1, 0.2]
    assert [[row.cursor for row in step.rows] for step in batches] == [[1], [2], [3, 4, 5]]


def test_a_silence_is_cut_and_no_speed_waits_for_nothing() -> None:
    time_of = Time()
    list(paced(steps_at(0, 90_000), 1.0, sleep=time_of.sleep, clock=time_of.clock))
    assert time_of.slept == [LONGEST_SILENCE_S]
    list(paced(steps_at(0, 90_000), None, sleep=time_of.sleep, clock=time_of.clock))
    assert time_of.slept == [LONGEST_SILENCE_S]


def test_a_busy_service_is_asked_again() -> None:
    waited: list[float] = []
    answers: list[Any] = [
        ServiceError(429, "ingest_full", "", "", 3.0),
        ServiceError(503, "not_ready", "", ""),
        {"accepted": 1},
    ]

    def ask() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    assert with_retry(ask, waited.append) == {"accepted": 1}
    assert waited == [3.0, 1.0]
    answers[:] = [ServiceError(400, "malformed", "", "")]
    with pytest.raises(ServiceError):
        with_retry(ask, waited.append)

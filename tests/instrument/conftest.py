"""Events that the instrumentation emits, as a list."""

from collections.abc import Callable
from typing import Any

import pytest

from realm_telemetry import instrument
from realm_telemetry.event import Event


@pytest.fixture
def emitted(monkeypatch) -> list[Event]:
    """The real `emit` keeps events in its buffer before `configure`; collect them beside it."""
    events: list[Event] = []
    real: Callable[..., Event] = vars(instrument)["emit"]

    def emit(*args: Any, **kwargs: Any) -> Event:
        events.append(real(*args, **kwargs))
        return events[-1]

    monkeypatch.setattr(instrument, "emit", emit)
    return events

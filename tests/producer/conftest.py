"""Shared by the tests of the producer."""

from collections.abc import Callable
from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.producer import instrument


@pytest.fixture
def anyio_backend() -> str:
    """asyncio only: the service runs on it."""
    return "asyncio"


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

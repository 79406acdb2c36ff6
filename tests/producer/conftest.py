"""Shared by the tests of the producer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.event import Event
from realm_telemetry.producer import appenders, instrument


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


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[realm.Telemetry]:
    """A configured process without a shipper, so that the spool can be looked at."""
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    started = realm.configure(service_name="test", home=tmp_path, shipper="none", run_id="r0")
    assert started is not None
    yield started
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))

"""A configured process whose spool can be looked at, and programs to run."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import realm_telemetry as realm
from realm_telemetry.integrations import logging as realm_logging
from realm_telemetry.producer import appenders
from realm_telemetry.service import RealmServer, ServiceSettings
from realm_telemetry.spool.frames import decode_event
from realm_telemetry.spool.reader import SpoolReader

Spooled = Callable[[], list[realm.Event]]


@contextmanager
def serving(home: Path) -> Iterator[RealmServer]:
    """Run a real service on ports of its own."""
    ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
    server = RealmServer(ServiceSettings.for_home(home, **ports))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.started.wait(60)
        yield server
    finally:
        server.stop()
        thread.join(20)


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[Spooled]:
    """Return all events in the spool, as the shipper would decode them."""
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    started = realm.configure(service_name="test", home=tmp_path, shipper="none")
    assert started is not None
    assert started.pipeline_dir is not None
    directory = started.pipeline_dir / started.producer

    def read() -> list[realm.Event]:
        reader = SpoolReader(directory)
        frames = reader.read(100_000)
        reader.close()
        return [
            decode_event(f.payload, started.producer, f.number) for f in frames if f.format == 1
        ]

    yield read
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """No handler, level or hook of a test is left behind."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.Logger.callHandlers)
    yield
    realm_logging.uninstall()
    assert (root.handlers, logging.Logger.callHandlers) == before[1:]
    root.setLevel(before[0])

"""A home with one pipeline, real producers' spools in it, and shippers to run over it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.shipper.manifest import Manifest, write_manifest
from realm_telemetry.shipper.shipper import Shipper
from realm_telemetry.spool.frames import encode_msgpack
from realm_telemetry.spool.writer import SpoolWriter
from tests.waiting import PATIENCE_S, wait_until


class Producer:
    """A producer whose spool is real and whose end the test decides."""

    def __init__(
        self, pipeline_dir: Path, *, forked: bool = False, hello: bool = True, rings: bool = True
    ) -> None:
        self.id = os.urandom(8).hex()
        self.writer = SpoolWriter(pipeline_dir, self.id)
        if rings:
            self.writer.ring_for_shipper()
        if hello:
            resource = {"service.name": "trainer", "process.pid": 4242, "realm.run.id": "r7"}
            self.writer.append_control({"type": "hello", "forked": forked, "resource": resource})

    def emit(self, kind: str = "training_step", message: str = "hello", **details: Any) -> int:
        payload = (time.time_ns(), kind, "training", "info", message, details)
        return self.writer.append(encode_msgpack(payload))

    def emit_many(self, count: int) -> None:
        for step in range(count):
            self.emit(step=step)

    def end(self) -> None:
        self.writer.append_control({"type": "goodbye", "emitted": self.writer.last_number})
        self.writer.close()

    def die(self) -> None:
        """As if killed: no goodbye, and the lock is free."""
        self.writer._lock.release()


class Running:
    """A shipper at work in a thread of the test."""

    def __init__(self, shipper: Shipper) -> None:
        self.shipper = shipper
        self.result: bool | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.result = self.shipper.run()

    def join(self, timeout_s: float = PATIENCE_S) -> bool | None:
        self.thread.join(timeout_s)
        assert not self.thread.is_alive(), "the shipper does not leave"
        return self.result

    def stop(self) -> None:
        self.shipper.stop()
        self.join()


class Lab:
    """A home with one pipeline."""

    def __init__(self, home: Path, **fields: Any) -> None:
        self.home = home
        self.log_path = home / "vault" / "jobs.db"
        self.spool_root = home / "spool"
        self.manifest = Manifest(
            **{
                "version": "1",
                "python": "",
                "home": str(home),
                "log_path": str(self.log_path),
                "search_path": str(home / "vault" / "search.db"),
                "service_url": "http://127.0.0.1:1",
                **fields,
            }
        )
        self.pipeline_dir = write_manifest(self.spool_root, self.manifest)
        self.running: list[Running] = []

    def producer(self, **options: Any) -> Producer:
        return Producer(self.pipeline_dir, **options)

    def shipper(self, **options: Any) -> Shipper:
        return Shipper(self.pipeline_dir, **{"grace_s": 0.0, **options})

    def start(self, **options: Any) -> Running:
        running = Running(self.shipper(**options))
        self.running.append(running)
        return running

    def ship(self, **options: Any) -> bool | None:
        """Ship until nothing is left."""
        return self.start(once=True, **options).join()

    def rows(self) -> list[LogRow]:
        with LogReader(self.log_path) as reader:
            return reader.now.after(0, 1_000_000)

    def numbers(self, producer: str) -> list[int]:
        return [row.event.number for row in self.rows() if row.event.producer == producer]

    def log_text(self) -> str:
        return "".join(path.read_text() for path in (self.home / "logs").glob("*.log"))


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds."""
    return wait_until


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Make labs below tmp_path; their shippers are stopped at the end."""
    labs: list[Lab] = []

    def make(name: str = "home", **fields: Any) -> Lab:
        labs.append(Lab(tmp_path / name, **fields))
        return labs[-1]

    yield make
    for lab in labs:
        for running in lab.running:
            running.shipper.stop()
        for running in lab.running:
            running.thread.join(PATIENCE_S)


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """A pipeline without exporters: spool to log only."""
    return make_lab()

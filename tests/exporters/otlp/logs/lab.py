"""A pipeline with a real spool, and a shipper to run over it."""

import threading
import time
from pathlib import Path
from typing import Any

from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.shipper.manifest import Manifest, write_manifest
from realm_telemetry.shipper.overview import PipelineStatus, pipeline_status
from realm_telemetry.shipper.shipper import Shipper
from realm_telemetry.spool.frames import encode_msgpack
from realm_telemetry.spool.writer import SpoolWriter


class Lab:
    """A pipeline with the exporters battle_log and otlp, and a producer's spool in it."""

    def __init__(
        self,
        home: Path,
        producer: str = "ab" * 8,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.home = home
        self.log_path = home / "vault" / "jobs.db"
        manifest = Manifest(
            version="1",
            python="",
            home=str(home),
            log_path=str(self.log_path),
            search_path=str(home / "vault" / "search.db"),
            service_url="http://127.0.0.1:1",
            exporters=["battle_log", "otlp"],
            options={"otlp": options},
            environment=environment or {},
        )
        self.pipeline_dir = write_manifest(home / "spool", manifest)
        self.writer = SpoolWriter(self.pipeline_dir, producer)
        resource = {"service.name": "trainer", "process.pid": 4242}
        self.writer.append_control({"type": "hello", "forked": False, "resource": resource})
        self._shipper: Shipper | None = None
        self._thread: threading.Thread | None = None

    def emit(self, count: int, **details: Any) -> None:
        for step in range(count):
            fields = (time.time_ns(), "training_step", "training", "info", "hello")
            self.writer.append(encode_msgpack((*fields, {"step": step, **details})))

    def end(self) -> None:
        """End the producer, in order."""
        self.writer.append_control({"type": "goodbye", "emitted": self.writer.last_number})
        self.writer.close()

    def start(self) -> None:
        """Let a shipper work."""
        self._shipper = Shipper(self.pipeline_dir, grace_s=0.0)
        self._thread = threading.Thread(target=self._shipper.run)
        self._thread.start()

    def stop(self) -> None:
        if self._shipper is not None and self._thread is not None:
            self._shipper.stop()
            self._thread.join(20)
            assert not self._thread.is_alive()
        self.writer.close()

    def status(self) -> PipelineStatus:
        (found,) = pipeline_status(self.home)
        return found

    def rows(self) -> list[LogRow]:
        with LogReader(self.log_path) as reader:
            return reader.now.after(0, 1_000_000)

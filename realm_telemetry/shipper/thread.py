"""The shipper inside its producer: for exporters and processors given as objects, and for tests."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from realm_telemetry.errors import warn_once
from realm_telemetry.shipper.manifest import read_manifest
from realm_telemetry.shipper.shipper import Shipper
from realm_telemetry.spool.reader import spool_directories
from realm_telemetry.values.clock import monotonic

RETRY_LOCK_S: Final = 0.2
LAST_MOMENT_S: Final = 0.2


class ThreadShipper:
    """Runs a Shipper in a daemon thread.

    exporters, processors: names of entry points, or objects.
    """

    def __init__(
        self, pipeline_dir: Path, exporters: Sequence[Any], processors: Sequence[Any]
    ) -> None:
        exporter_objects, exporter_names = _named(exporters)
        processor_objects, processor_names = _named(processors)
        manifest = msgspec.structs.replace(
            read_manifest(pipeline_dir), exporters=exporter_names, processors=processor_names
        )
        self.pipeline_dir = pipeline_dir
        self._shipper = Shipper(
            pipeline_dir,
            manifest=manifest,
            exporters=exporter_objects,
            processors=processor_objects,
        )
        self._ending = threading.Event()
        self._stopped = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin shipping, unless a thread does so already.

        Raises RuntimeError if no thread can be started.
        """
        if not self._starting.acquire(blocking=False):
            return
        try:
            ships = self._thread is not None and self._thread.is_alive()
            if not ships and not self._ending.is_set():
                name = "realm-telemetry-shipper"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                thread.start()
                self._thread = thread
        finally:
            self._starting.release()

    def stop(self, timeout_s: float) -> None:
        """Ship what is there, within the time, and end."""
        deadline_s = monotonic() + timeout_s
        self._shipper.finish()
        self._ending.set()
        if self._thread is None:
            return
        self._thread.join(max(timeout_s - LAST_MOMENT_S, timeout_s / 2))
        self._stopped = True
        self._shipper.stop()
        self._thread.join(max(deadline_s - monotonic(), 0.0))

    def _run(self) -> None:
        while True:
            asked = self._ending.is_set()
            # False: a thread of another producer ships the pipeline, ours with it, until it ends.
            if not self._try():
                if self._ending.wait(RETRY_LOCK_S):
                    return
            elif asked or not self._ending.is_set() or not self._may_have_missed_a_spool():
                return

    def _may_have_missed_a_spool(self) -> bool:
        """Whether there are spools: one that came just before the end was perhaps not seen."""
        try:
            return not self._stopped and bool(spool_directories(self.pipeline_dir))
        except OSError:  # the pipeline was deleted
            return False

    def _try(self) -> bool:
        try:
            return self._shipper.run()
        except (OSError, RuntimeError) as error:  # no room, or no threads to be had
            warn_once("thread shipper", f"the shipper cannot work: {error}")
            return False


def _named(items: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Name objects by their types, the second of a type `Type-2`; the objects by name."""
    objects: dict[str, Any] = {}
    names: list[str] = []
    seen: Counter[str] = Counter()
    for item in items:
        name = item if isinstance(item, str) else type(item).__name__
        seen[name] += 1
        name = name if seen[name] == 1 else f"{name}-{seen[name]}"
        names.append(name)
        if not isinstance(item, str):
            objects[name] = item
    return objects, names

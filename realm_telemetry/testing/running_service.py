"""A real RealmService for as long as a test needs it. Needs the extra `service`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from realm_telemetry.service import RealmServer, ServiceSettings

_START_S: Final = 20.0


@contextmanager
def running_service(home: Path, **settings: Any) -> Iterator[RealmServer]:
    """Serve a home in a thread, on free ports of loopback; `url` says where.

    settings: of `ServiceSettings`. Raises TimeoutError if it does not start.
    """
    ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
    server = RealmServer(ServiceSettings.for_home(home, **(ports | settings)))
    thread = threading.Thread(target=server.run, name="realm-service")
    thread.start()
    try:
        if not server.started.wait(_START_S):
            raise TimeoutError(f"the service did not start within {_START_S:g} s")
        yield server
    finally:
        server.stop()
        thread.join(_START_S)

"""A home of its own for every test, and a shipper inside the process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import realm_telemetry as realm
from realm_telemetry.producer import api as telemetry
from realm_telemetry.producer import appenders


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lab's base directory; nothing is configured."""
    for name in list(os.environ):
        if name.startswith(("REALM_", "OTEL_")):
            monkeypatch.delenv(name)
    home = tmp_path / "lab"
    monkeypatch.setenv("REALM_HOME", str(home))
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log")
    monkeypatch.setenv("REALM_SHIPPER", "thread")
    # Earlier tests of this process may have left events without a configured producer.
    realm.shutdown()
    appenders.set_current(appenders.Early(telemetry._on_first_event))
    yield home
    realm.shutdown()

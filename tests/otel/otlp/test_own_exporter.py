"""A whole realm sends by OTLP to a second one: program, shipper, exporter, service."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.service import RealmServer
from tests.waiting import wait_until

pytest.importorskip("realm_exporter_otlp")

PROGRAM = """
import realm_telemetry as realm

realm.configure(service_name="trainer")
with realm.lifecycle("training", model="m", run_id="r7"):
    for step in range(500):
        realm.training_step(step=step, loss=1 / (step + 1))
    realm.emit("note", "mine", details={"event.name": "kept", "nested": {"a": [1, None, 2.5]}})
    realm.emit("app_thing", hero_id="dio", campaign_id="c", source="elsewhere")
realm.flush(60)
"""


def events(log: Path) -> dict[str, object]:
    with LogReader(log) as reader:
        return {
            row.event.id: msgspec.structs.replace(row.event, observed_unix_nano=None)
            for row in reader.now.after(0, 1000)
        }


@pytest.mark.processes
@pytest.mark.parametrize("others", ["", ",otlp_traces,otlp_metrics"])
def test_every_event_is_the_same_at_the_other_side(
    server: RealmServer, client: httpx.Client, tmp_path: Path, others: str
) -> None:
    """Also if the exporters of spans and metrics, which are refused, send there as well."""
    here = tmp_path / "here"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "OTEL_"))}
    environment |= {
        "REALM_HOME": str(here),
        "REALM_EXPORTERS": f"battle_log,otlp{others}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=60)
    sent = events(here / "vault" / "jobs.db")
    assert len(sent) == 506
    wait_until(lambda: len(events(tmp_path / "vault" / "jobs.db")) >= 506)
    assert events(tmp_path / "vault" / "jobs.db") == sent
    (receipt,) = client.get("/api/receipts").json()["receipts"]
    assert receipt["stored"] == 506
    with (
        LogReader(here / "vault" / "jobs.db") as one,
        LogReader(tmp_path / "vault" / "jobs.db") as two,
    ):
        assert two.now.producers()[0].resource == one.now.producers()[0].resource

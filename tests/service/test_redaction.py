"""Redaction at every door of the log: what comes in by any of them is stored without secrets."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from realm_exporter_battle_log import BattleLogExporter

from realm_telemetry import flush, shutdown
from realm_telemetry.compat.battle_log import BattleLogger
from realm_telemetry.config import load_settings
from realm_telemetry.event import Event
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.redaction import REDACTED, REDACTED_KEY
from realm_telemetry.service import ServiceSettings
from realm_telemetry.transfer.imports import import_files
from realm_telemetry.wire import CONTENT_TYPE, BatchProducer, encode_batch

from ..shipper.conftest import Lab  # noqa: TID252 - the shipper is one of the doors
from .conftest import PRODUCER, asking, free_ports, make_event, serving

SECRET = "hunter2x"
MESSAGE = f"login with --password {SECRET} done"
DETAILS = {
    "step": 7,
    "password": SECRET,
    "tokens": 512,
    "deep": {"env": [{"name": "DB_PASSWORD", "value": SECRET}], "url": f"https://u:{SECRET}@h/x"},
    "cluster_pin": SECRET,
}
FIELDS = {"hero_id": f"token={SECRET}", "run_id": f"https://h/?sig={SECRET}"}
CLEAN_MESSAGE = f"login with --password {REDACTED} done"
CLEAN = {
    "step": 7,
    "password": REDACTED,
    "tokens": 512,
    "deep": {
        "env": [{"name": "DB_PASSWORD", "value": REDACTED}],
        "url": f"https://u:{REDACTED}@h/x",
    },
    "cluster_pin": REDACTED,
}
RESOURCE = {"service.name": "t", "process.command_args": ["t", "--token", SECRET]}

Door = Callable[[httpx.Client, ServiceSettings], None]


def attribute(name: str, value: Any) -> dict[str, Any]:
    """An attribute of OTLP's JSON."""
    match value:
        case dict():
            pairs = [attribute(key, item) for key, item in value.items()]
            return {"key": name, "value": {"kvlistValue": {"values": pairs}}}
        case list():
            items = [attribute("", item)["value"] for item in value]
            return {"key": name, "value": {"arrayValue": {"values": items}}}
        case int():
            return {"key": name, "value": {"intValue": str(value)}}
    return {"key": name, "value": {"stringValue": value}}


def posted(client: httpx.Client, path: str, body: Any) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text


def by_protobuf(client: httpx.Client, _: ServiceSettings) -> None:
    event = make_event(1, message=MESSAGE, details=DETAILS, **FIELDS)
    body = encode_batch([event], [BatchProducer(PRODUCER, resource=RESOURCE, emitted=1)])
    response = client.post("/api/v1/events", content=body, headers={"content-type": CONTENT_TYPE})
    assert response.status_code == 200


def by_json(client: httpx.Client, _: ServiceSettings) -> None:
    shape = {"kind": "note", "message": MESSAGE, "details": DETAILS, **FIELDS}
    posted(client, "/api/v1/events", {"events": [shape]})


def by_the_older_event(client: httpx.Client, _: ServiceSettings) -> None:
    posted(client, "/api/event", {"kind": "note", "message": MESSAGE, "details": DETAILS, **FIELDS})


def by_an_older_update(client: httpx.Client, _: ServiceSettings) -> None:
    posted(client, "/api/update/training", DETAILS)


def by_an_older_worker(client: httpx.Client, _: ServiceSettings) -> None:
    posted(client, "/api/worker/w1", DETAILS)


def by_otlp_logs(client: httpx.Client, _: ServiceSettings) -> None:
    record = {
        "timeUnixNano": "1764374400000000000",
        "body": {"stringValue": MESSAGE},
        "attributes": [attribute(name, value) for name, value in DETAILS.items()],
    }
    resource = {"attributes": [attribute(name, value) for name, value in RESOURCE.items()]}
    logs = {"resource": resource, "scopeLogs": [{"logRecords": [record]}]}
    posted(client, "/v1/logs", {"resourceLogs": [logs]})


def by_otlp_traces(client: httpx.Client, _: ServiceSettings) -> None:
    event = {
        "timeUnixNano": "1764374400000000000",
        "name": MESSAGE,
        "attributes": [attribute(name, value) for name, value in DETAILS.items()],
    }
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": MESSAGE, "events": [event]}
    resource = {"attributes": [attribute(name, value) for name, value in RESOURCE.items()]}
    spans = {"resource": resource, "scopeSpans": [{"spans": [span]}]}
    posted(client, "/v1/traces", {"resourceSpans": [spans]})


def by_a_shipper(_: httpx.Client, settings: ServiceSettings) -> None:
    lab = Lab(settings.home, redact=["cluster_pin"])
    producer = lab.producer()
    producer.writer.append_control({"type": "resource", "resource": RESOURCE})
    producer.emit("note", MESSAGE, **DETAILS)
    producer.end()
    lab.ship()


def by_an_import(_: httpx.Client, settings: ServiceSettings) -> None:
    line = {"kind": "note", "message": MESSAGE, "details": DETAILS, **FIELDS}
    shape = {"ts": "2025-11-29T00:00:00Z", "channel": "system", "severity": "info"}
    file = settings.home / "older.jsonl"
    file.write_text(json.dumps(line | shape) + "\n")
    import_files([file], home=settings.home)


def by_the_older_module(_: httpx.Client, settings: ServiceSettings) -> None:
    logger = BattleLogger(settings.log_path)
    logger.log("system", MESSAGE, details=DETAILS, hero_id=FIELDS["hero_id"])
    flush(60)
    shutdown()


def by_the_exporter_of_an_sdk(_: httpx.Client, settings: ServiceSettings) -> None:
    context = ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        inside_shipper=False,
        redact=("cluster_pin",),
    )
    exporter = BattleLogExporter(context=context)
    exporter.open()
    exporter.deliver([make_event(1, message=MESSAGE, details=DETAILS, **FIELDS)])
    exporter.close()


def by_a_writer_in_this_process(_: httpx.Client, settings: ServiceSettings) -> None:
    with LogWriter(settings.log_path, redact=["cluster_pin"]) as writer:
        writer.append([make_event(1, message=MESSAGE, details=DETAILS, **FIELDS)])


DOORS = [
    by_protobuf,
    by_json,
    by_the_older_event,
    by_an_older_update,
    by_an_older_worker,
    by_otlp_logs,
    by_otlp_traces,
    by_a_shipper,
    by_an_import,
    pytest.param(by_the_older_module, marks=pytest.mark.processes),
    by_the_exporter_of_an_sdk,
    by_a_writer_in_this_process,
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose settings name a secret of its own."""
    (tmp_path / "realm.toml").write_text('redact = ["cluster_pin"]\n')
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[httpx.Client, ServiceSettings]]:
    """A client of a service on that home, and the service's settings."""
    settings = free_ports(home, redact=("cluster_pin",))
    with serving(settings) as server, asking(server) as client:
        monkeypatch.setenv("REALM_SERVICE_URL", f"http://127.0.0.1:{server.ports[0]}")
        yield client, settings


def rows(settings: ServiceSettings) -> list[Event]:
    with LogReader(settings.log_path) as reader:
        return [row.event for row in reader.now.after(0)]


def tables(value: Any) -> Iterator[dict[str, Any]]:
    """The tables in a value, each with the names of CLEAN alone."""
    if isinstance(value, dict):
        yield {name: item for name, item in value.items() if name in CLEAN}
        for item in value.values():
            yield from tables(item)


@pytest.mark.parametrize("door", DOORS)
def test_no_secret_comes_into_the_log(
    both: tuple[httpx.Client, ServiceSettings], door: Door
) -> None:
    client, settings = both
    door(client, settings)
    found = rows(settings)
    assert SECRET not in repr(found)
    # A process may have kept events of an earlier test until this one configured it.
    assert len([event for event in found if CLEAN in list(tables(event.details))]) == 1
    connection = sqlite3.connect(settings.log_path)
    assert SECRET not in "\n".join(connection.iterdump())
    connection.close()
    for path in ("/api/events", "/api/battle_log", "/api/state", "/api/receipts"):
        assert SECRET not in client.get(path).text


def test_shipper_and_service_make_the_same_of_an_event(
    both: tuple[httpx.Client, ServiceSettings],
) -> None:
    client, settings = both
    by_a_shipper(client, settings)
    by_protobuf(client, settings)
    shipped, received = rows(settings)
    assert shipped.message == received.message == CLEAN_MESSAGE
    marks = shipped.details.pop(REDACTED_KEY), received.details.pop(REDACTED_KEY)
    assert shipped.details == received.details == CLEAN
    assert [mark for mark in marks[1] if mark not in FIELDS] == marks[0]


def test_an_exporter_of_the_shipper_sees_no_secret(home: Path) -> None:
    seen: list[Event] = []

    class Collector(BattleLogExporter):
        name = "collector"

        def deliver(self, events: Any) -> None:
            seen.extend(events)

    lab = Lab(home, exporters=["battle_log", "collector"], redact=["cluster_pin"])
    producer = lab.producer()
    producer.emit("note", MESSAGE, **DETAILS)
    producer.end()
    lab.ship(exporters={"collector": Collector()})
    assert [event.message for event in seen] == [CLEAN_MESSAGE]
    assert SECRET not in repr(seen)


def test_what_a_processor_adds_is_redacted_and_it_sees_no_secret(home: Path) -> None:
    seen: list[str] = []

    def adds(event: Event) -> Event:
        seen.append(repr(event))
        event.details["note"] = f"password={SECRET}"
        return event

    lab = Lab(home, processors=["adds"], redact=["cluster_pin"])
    producer = lab.producer()
    producer.emit("note", MESSAGE, **DETAILS)
    producer.end()
    lab.ship(processors={"adds": adds})
    (row,) = lab.rows()
    assert row.event.details["note"] == f"password={REDACTED}"
    assert SECRET not in repr(seen)


def test_an_exported_log_is_imported_as_it_is(
    both: tuple[httpx.Client, ServiceSettings], tmp_path_factory: pytest.TempPathFactory
) -> None:
    client, settings = both
    by_protobuf(client, settings)
    other = free_ports(tmp_path_factory.mktemp("other"))
    found = rows(settings)
    assert len(found) == 1, [(one.kind, one.message, one.details) for one in found]
    (event,) = found
    with LogWriter(other.log_path) as writer:
        writer.append([event], keep_arrival=True)
    (again,) = rows(other)
    assert again == event


def test_off_in_the_settings_holds_for_the_service(tmp_path: Path) -> None:
    (tmp_path / "realm.toml").write_text('redact = "off"\n')
    settings = ServiceSettings.of(load_settings({"home": tmp_path}))
    assert settings.redact == ("off",)
    with serving(free_ports(tmp_path, redact=settings.redact)) as server, asking(server) as client:
        by_json(client, settings)
    found = rows(settings)
    assert len(found) == 1, [(one.kind, one.message, one.details) for one in found]
    (event,) = found
    assert event.message == MESSAGE
    assert event.details == DETAILS

"""Every installed exporter keeps every rule of the conformance check."""

import io
import json
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.otel import EventExporter
from realm_telemetry.plugins import ExporterContext, installed, load_exporter
from realm_telemetry.testing import CASES, BrokenServer, Case, Subject

OURS = sorted(
    each.name
    for each in installed()
    if each.distribution == "realm-telemetry" and each.group == "realm_telemetry.exporters"
)


@pytest.fixture
def server() -> Iterator[BrokenServer]:
    with BrokenServer() as running:
        yield running


class Hook:
    """Takes webhook messages and remembers the events in them."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        ids = self.ids

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                ids.extend(event["id"] for event in body["events"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    running = Hook()
    thread = threading.Thread(target=running.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    thread.join()
    running.server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    return tmp_path


def context(home: Path, **changes: Any) -> ExporterContext:
    defaults: dict[str, Any] = {
        "home": home,
        "log_path": home / "vault" / "jobs.db",
        "log_id": "cd" * 16,
    }
    return ExporterContext(**(defaults | changes))


def battle_log(home: Path, **_: Any) -> Subject:
    path = home / "vault" / "jobs.db"
    (home / "file").touch()

    def delivered() -> Sequence[str]:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT hex(event_id) FROM battle_log ORDER BY id")
            return [row[0].lower() for row in rows]

    return Subject(
        make=lambda: load_exporter("battle_log", context(home, inside_shipper=False)),
        delivered=delivered,
        make_broken=lambda: load_exporter(
            "battle_log", context(home, log_path=home / "file" / "jobs.db", inside_shipper=False)
        ),
    )


def realm_service(home: Path, server: BrokenServer, **_: Any) -> Subject:
    return Subject(
        make=lambda: load_exporter("realm_service", context(home, service_url=server.url)),
        delivered=lambda: [event.id for event in server.events],
        make_broken=lambda: load_exporter(
            "realm_service", context(home, service_url="http://127.0.0.1:9")
        ),
    )


def jsonl(home: Path, **_: Any) -> Subject:
    path = home / "logs" / "events.jsonl"
    (home / "file").touch()
    return Subject(
        make=lambda: load_exporter("jsonl", context(home, options={"format": "event"})),
        delivered=lambda: [json.loads(line)["id"] for line in path.read_bytes().split(b"\n")[:-1]],
        make_broken=lambda: load_exporter(
            "jsonl", context(home, options={"path": str(home / "file" / "events.jsonl")})
        ),
    )


def console(home: Path, monkeypatch: pytest.MonkeyPatch, **_: Any) -> Subject:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    (home / "file").touch()
    return Subject(
        make=lambda: load_exporter("console", context(home)),
        make_broken=lambda: load_exporter(
            "console", context(home, options={"path": str(home / "file" / "tty")})
        ),
    )


def webhook(home: Path, hook: Hook, **_: Any) -> Subject:
    def options(url: str) -> dict[str, Any]:
        return {
            "allow_hosts": ["127.0.0.1"],
            "late_after": "36500d",  # the events of the check happened long ago
            "targets": {"lab": {"url": url}},
            "rules": [{"name": "all", "to": "lab"}],
        }

    return Subject(
        make=lambda: load_exporter("webhook", context(home, options=options(hook.url))),
        delivered=lambda: hook.ids,
        make_broken=lambda: load_exporter(
            "webhook", context(home, options=options("http://127.0.0.1:9"))
        ),
    )


SUBJECTS = {each.__name__: each for each in (battle_log, realm_service, jsonl, console, webhook)}


def test_every_exporter_of_ours_is_under_this_check() -> None:
    assert OURS, "realm-telemetry is not installed: pip install -e ."
    assert set(OURS) - {"otlp", "otlp_traces", "otlp_metrics"} == set(SUBJECTS)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", SUBJECTS)
def test_exporter_keeps_the_rule(
    name: str,
    case: Case,
    home: Path,
    server: BrokenServer,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case(SUBJECTS[name](home=home, server=server, hook=hook, monkeypatch=monkeypatch))


@pytest.mark.parametrize("name", SUBJECTS)
def test_opentelemetry_builds_the_exporter_without_arguments(name: str) -> None:
    from opentelemetry.sdk._logs.export import LogRecordExporter

    exporter = type(load_exporter(name, context(Path("/nonexistent"))))()
    assert isinstance(exporter, LogRecordExporter)
    assert isinstance(exporter, EventExporter)
    assert not exporter.context.inside_shipper
    exporter.shutdown()


def test_battle_log_in_a_shipper_writes_nothing(home: Path) -> None:
    from realm_telemetry.testing import sample_events

    exporter = load_exporter("battle_log", context(home))
    exporter.export_events(sample_events(3))
    exporter.shutdown()
    assert not (home / "vault").exists()

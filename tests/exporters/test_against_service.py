"""The realm_service exporter against the real RealmService: two homes as two hosts."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from realm_exporter_realm_service import RealmServiceExporter

from realm_telemetry.errors import ExportError
from realm_telemetry.kinds import catalog
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.service import RealmServer, ServiceSettings
from realm_telemetry.testing import CASES, Case, Subject, sample_events


@contextmanager
def serving(home: Path, **options: object) -> Iterator[RealmServer]:
    ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
    server = RealmServer(ServiceSettings.for_home(home, **(ports | options)))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.started.wait(60)
        yield server
    finally:
        server.stop()
        thread.join(20)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def service(elsewhere: Path) -> Iterator[RealmServer]:
    with serving(elsewhere) as running:
        yield running


def make(home: Path, url: str, **changes: object) -> RealmServiceExporter:
    plain = {"home": home, "log_path": home / "vault" / "jobs.db", "service_url": url}
    return RealmServiceExporter(
        context=ExporterContext(**({"log_id": "cd" * 16} | plain | changes))  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rules_hold_with_the_real_service(
    case: Case, service: RealmServer, elsewhere: Path, tmp_path: Path
) -> None:
    def delivered() -> list[str]:
        with LogReader(elsewhere / "vault" / "jobs.db") as log:
            return [row.event.id for row in log.now.after(0, 10_000)]

    case(Subject(make=lambda: make(tmp_path, service.url), delivered=delivered))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_service_takes_compressed_batches(
    compression: str, service: RealmServer, elsewhere: Path, tmp_path: Path
) -> None:
    producer = {"gzip": "a1" * 8, "zstd": "a2" * 8}[compression]
    events = sample_events(100, producer=producer)
    exporter = make(tmp_path, service.url, options={"compression": compression})
    exporter.export_events(events)
    exporter.shutdown()
    with LogReader(elsewhere / "vault" / "jobs.db") as log:
        stored = log.now.get(events[-1].id)
    assert stored is not None
    assert stored.event.details == events[-1].details


def test_a_batch_of_more_values_than_the_service_takes_is_sent_in_parts(tmp_path: Path) -> None:
    events = [
        msgspec.structs.replace(event, details={"weights": list(range(1000))})
        for event in sample_events(30, producer="a3" * 8)
    ]
    remote = tmp_path / "remote"
    with serving(remote, max_body_values=5_000) as service:
        exporter = make(tmp_path, service.url)
        exporter.export_events(events)
        exporter.shutdown()
    with LogReader(remote / "vault" / "jobs.db") as reader:
        stored = {row.event.id: row.event.details for row in reader.now.after(0, 100)}
    assert stored == {event.id: event.details for event in events}


def test_a_service_on_the_same_log_is_sent_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "jobs.db"
    with LogWriter(path) as log:
        own = log.log_id
    with serving(tmp_path) as service:
        exporter = make(tmp_path, service.url, log_id=own)
        exporter.export_events(sample_events(5))
        exporter.shutdown()
    with LogReader(path) as reader:
        assert reader.now.after(0, 10) == []


def test_the_log_elsewhere_knows_producers_and_receipts(tmp_path: Path, elsewhere: Path) -> None:
    producer = "ee" * 8
    events = sample_events(3, producer=producer)
    remote = tmp_path / "remote"
    with LogWriter(tmp_path / "vault" / "jobs.db") as log, serving(remote) as service:
        log.register_producer(ProducerInfo(producer, "pipe", {"service.name": "trainer"}))
        log.append(events, pipeline="pipe")
        exporter = make(tmp_path, service.url, log_id=log.log_id)
        exporter.export_events(events)
        log.record_receipt(producer, emitted=3, dropped=0, ended=True)
        exporter.shutdown()
    with LogReader(remote / "vault" / "jobs.db") as reader:
        (known,) = reader.now.producers()
        (receipt,) = reader.now.receipts()
    assert known.resource == {"service.name": "trainer"}
    assert known.pipeline == "remote/pipe", "no pipeline of the host that keeps the log"
    assert (receipt.emitted, receipt.stored, receipt.complete) == (3, 3, True)


def test_the_log_elsewhere_knows_registered_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("_specs", "_resolved", "_templates", "_learned"):
        monkeypatch.setattr(catalog, table, getattr(catalog, table).copy())
    kind = catalog.KindSpec("ray_traced", "debug", "info", "Ray {n}", True)
    events = [msgspec.structs.replace(each, kind="ray_traced") for each in sample_events(2)]
    remote = tmp_path / "remote"
    with LogWriter(tmp_path / "vault" / "jobs.db") as log, serving(remote) as service:
        log.register_kind(kind)
        log.register_kind(catalog.KindSpec("not_sent", "debug", "info"))
        exporter = make(tmp_path, service.url, log_id=log.log_id)
        exporter.export_events(events)
        exporter.shutdown()
    with LogReader(remote / "vault" / "jobs.db") as reader:
        assert reader.now.kinds() == [kind]


def test_a_wrong_token_names_the_setting(tmp_path: Path) -> None:
    with serving(tmp_path / "remote", token="right-token") as service:
        exporter = make(tmp_path, service.url, token="wrong")
        with pytest.raises(ExportError, match="REALM_TOKEN") as caught:
            exporter.export_events(sample_events(1))
        assert caught.value.retryable
        exporter.shutdown()
        exporter = make(tmp_path, service.url, token="right-token")
        exporter.export_events(sample_events(1))
        exporter.shutdown()


def test_a_service_that_comes_back_on_another_port_is_found(tmp_path: Path) -> None:
    exporter = RealmServiceExporter(
        context=ExporterContext(home=tmp_path, log_path=tmp_path / "vault" / "jobs.db")
    )
    events = sample_events(3)
    for event in events:
        with serving(tmp_path), contextlib.closing(exporter):
            exporter.deliver([event])
    with LogReader(tmp_path / "vault" / "jobs.db") as log:
        assert [row.event.id for row in log.now.after(0)] == [event.id for event in events]

"""Addresses that events name are secrets: outside the log, and there as long as they are needed."""

import shutil
from pathlib import Path

import pytest

from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.outbox import redacted
from realm_telemetry.log.records import Limits
from realm_telemetry.log.sqlite.addresses import UNUSED_NS, Addresses, addresses_path
from realm_telemetry.log.sqlite.retention import Retention

from .conftest import SECOND, Clock, make_event

HOOK = "https://user:pw@hooks.example:8443/T0K3N?key=T0K3N"
OTHER = "https://other.example/T0K3N"


def asked(reader: LogReader) -> list[tuple[str, ...]]:
    return [row.event.webhooks for row in reader.now.after(0, webhooks=True)]


def test_no_address_is_in_the_log(writer: LogWriter, reader: LogReader) -> None:
    """Looked for in every byte of `vault/`, where the log, its WAL and the search index are."""
    writer.append([make_event(1, webhooks=(HOOK, OTHER)), make_event(2), make_event(3)])
    assert asked(reader) == [(HOOK, OTHER), (), ()]
    vault = [path.read_bytes() for path in writer.path.parent.rglob("*") if path.is_file()]
    assert not any(b"T0K3N" in data for data in vault)
    assert any(b"https://hooks.example:8443/\xe2\x80\xa6" in data for data in vault)


def test_addresses_are_for_their_user_alone(writer: LogWriter) -> None:
    writer.append([make_event(1, webhooks=(HOOK,))])
    path = addresses_path(writer.path)
    assert path.parent.name == "data"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_an_event_without_addresses_makes_no_file(writer: LogWriter, reader: LogReader) -> None:
    writer.append([make_event(1)])
    assert asked(reader) == [()]
    assert not addresses_path(writer.path).exists()


def test_every_writer_has_the_same_name_for_an_address(writer: LogWriter, clock: Clock) -> None:
    first, second = (Addresses(addresses_path(writer.path)) for _ in range(2))
    kept = first.keep([HOOK], clock())
    assert second.keep([HOOK, OTHER], clock())[HOOK] == kept[HOOK]
    clock.now_ns += UNUSED_NS
    assert second.keep([HOOK], clock()) == kept


def test_a_copy_of_the_log_in_another_home_sends_nothing(writer: LogWriter, tmp_path: Path) -> None:
    writer.append([make_event(1, webhooks=(HOOK,))])
    writer.close()
    shutil.copytree(writer.path.parent, tmp_path / "other" / "vault")
    with LogReader(tmp_path / "other" / "vault" / "jobs.db") as reader:
        assert asked(reader) == [()]


def test_an_event_is_stored_without_its_address_where_that_cannot_be_kept(
    writer: LogWriter, reader: LogReader, capfd: pytest.CaptureFixture[str]
) -> None:
    """The event is worth more than the request, and so are those behind it."""
    addresses_path(writer.path).parent.write_text("a file in its place")
    assert writer.append([make_event(1, webhooks=(HOOK,)), make_event(2)]).stored == 2
    assert asked(reader) == [(), ()]
    assert "webhooks that events name are not sent" in capfd.readouterr().err


def test_an_address_goes_a_day_after_the_last_row_that_asked_for_it(
    writer: LogWriter, reader: LogReader, clock: Clock
) -> None:
    writer.append([make_event(1, webhooks=(HOOK,)), make_event(2, webhooks=(HOOK, OTHER))])
    clock.now_ns += 40 * UNUSED_NS
    writer.append([make_event(3, webhooks=(OTHER,))])
    writer.forget_addresses()
    assert asked(reader)[0] == (HOOK,)
    trim(writer, clock)
    writer.forget_addresses()
    assert asked(reader) == [(OTHER,)]
    assert b"hooks.example" not in addresses_path(writer.path).read_bytes()


@pytest.mark.parametrize(("age_ns", "left"), [(UNUSED_NS, True), (UNUSED_NS + 1, False)])
def test_an_address_that_no_row_asks_for_yet_stays_a_day(
    writer: LogWriter, clock: Clock, age_ns: int, left: bool
) -> None:
    addresses = Addresses(addresses_path(writer.path))
    kept = addresses.keep([HOOK], clock())
    clock.now_ns += age_ns
    writer.forget_addresses()
    assert bool(addresses.find(list(kept.values()))) is left


def trim(writer: LogWriter, clock: Clock) -> None:
    retention = Retention(writer, Limits(max_age_ns=SECOND), clock_ns=clock)
    while retention.step().more:
        pass


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@hooks.example/a/b?c#d", "https://hooks.example/…"),
        ("http://[::1]:8080/x", "http://[::1]:8080/…"),
        ("https://[broken", "(not an address)"),
        ("nothing", "://?/…"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(url: str, shown: str) -> None:
    assert redacted(url) == shown

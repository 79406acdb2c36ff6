"""Appends: what other servers, standbys and texts do to them."""

import threading
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.log import Filters
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.has import Has
from realm_telemetry.log.postgres.texts import MAX_NAME_BYTES, from_stored, to_name, to_stored
from realm_telemetry.log.records import ProducerInfo
from tests.postgres_server import Server
from tests.waiting import wait_until

from .conftest import make_event

pytestmark = pytest.mark.processes


@given(st.text(st.sampled_from("a0\0\uffff1")))
def test_any_text_comes_back(text: str) -> None:
    assert "\0" not in to_stored(text)
    assert from_stored(to_stored(text)) == text


def test_a_name_that_no_index_takes_is_cut_and_stays_distinct(url: Callable[..., str]) -> None:
    one, other = "é" * 9_000 + "1", "é" * 9_000 + "2"
    with open_log(url()).writer() as writer, open_log(url()).reader() as reader:
        events = [
            make_event(n, run_id=name, hero_id=name, campaign_id=name, kind=name)
            for n, name in enumerate((one, other), 1)
        ]
        assert writer.append(events).stored == 2
        page = reader.now.page(Filters(runs=(other,), heroes=(other,)))
        assert [row.event.number for row in page.rows] == [2]
        assert len(str(page.rows[0].event.run_id).encode()) <= MAX_NAME_BYTES
        assert page.rows[0].event.run_id == to_name(other)


def test_details_with_an_escaped_nul_are_stored_and_found(url: Callable[..., str]) -> None:
    with open_log(url()).writer() as writer, open_log(url()).reader() as reader:
        details = {"a": "x\0y", "big": 1e22, "nested": {"b": [1, "z"]}}
        writer.append([make_event(1, details=details), make_event(2)])
        for has in (Has("a", "x\0y"), Has("nested.b", "z"), Has("big", "1e22")):
            page = reader.now.page(Filters(has=(has,)))
            assert [row.event.details for row in page.rows] == [details]
            assert reader.now.page(Filters(has_not=(has,))).total == 1


def test_an_append_waits_for_a_server_that_is_restarted() -> None:
    with Server() as server:
        log = open_log(server.url(log_retry_s="60"))
        with log.writer() as writer:
            writer.register_producer(ProducerInfo("00112233445566aa"))
            writer.append([make_event(1)])
            server.kill()
            done: list[object] = []
            thread = threading.Thread(
                target=lambda: done.append(writer.append([make_event(1), make_event(2)]))
            )
            thread.start()
            server.start()
            thread.join()
            assert done
            with log.reader() as reader:
                assert [row.event.number for row in reader.now.after(0)] == [1, 2]
                assert reader.now.receipts()[0].stored == 2


def test_a_commit_that_its_standby_has_not_confirmed_is_not_acknowledged() -> None:
    """The server answers a cancelled wait as if all were well, with a warning."""
    with Server(synchronous_standby_names="nobody", synchronous_commit="local") as server:
        log = open_log(server.url(log_retry_s="0", options="-csynchronous_commit%3Don"))
        open_log(server.url()).writer().close()
        problems: list[Exception] = []

        def append() -> None:
            with log.writer() as writer:
                try:
                    writer.append([make_event(1)])
                except LogUnavailableError as error:
                    problems.append(error)

        thread = threading.Thread(target=append)
        thread.start()
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

        def has_ended() -> bool:
            server.sql(cancel)
            return not thread.is_alive()

        wait_until(has_ended)
        assert "standby has not confirmed" in str(problems[0])


def test_tails_miss_nothing_of_several_writers(url: Callable[..., str]) -> None:
    open_log(url()).writer().close()
    reader = open_log(url()).reader()
    seen: list[int] = []

    def write(producer: str) -> None:
        with open_log(url()).writer() as writer:
            for n in range(1, 51):
                writer.append([make_event(n, producer=producer)])

    writers = [threading.Thread(target=write, args=(f"{n:016x}",)) for n in range(1, 4)]
    for thread in writers:
        thread.start()
    with reader:

        def is_all() -> bool:
            seen.extend(row.cursor for row in reader.now.after(seen[-1] if seen else 0))
            return len(seen) >= 150

        wait_until(is_all)
    for thread in writers:
        thread.join()
    assert seen == list(range(1, 151))


def test_a_log_that_was_restored_without_its_addresses_keeps_new_ones(
    url: Callable[..., str], postgres: Server
) -> None:
    log = open_log(url())
    log.writer().close()
    schema = url().partition("schema=")[2].partition("&")[0]
    postgres.sql(f'DROP SCHEMA "{schema}_addresses" CASCADE')
    with log.writer() as writer:
        event = msgspec.structs.replace(make_event(1), webhooks=("https://hook.example/x",))
        assert writer.append([event]).stored == 1
    with log.reader() as reader:
        (row,) = reader.now.after(0, webhooks=True)
    assert row.event.webhooks == ("https://hook.example/x",)

"""The table in which services of one log say what they hear from hosts."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from realm_telemetry.log.engine import open_log
from realm_telemetry.log.hosts import SharedBeat
from realm_telemetry.log.postgres import schema
from realm_telemetry.log.postgres.connection import Place, Session
from realm_telemetry.log.postgres.hosts import Hosts

pytestmark = pytest.mark.processes


def beat(content: bytes = b"1", age_s: float = 0.0, **names: str) -> SharedBeat:
    fields = {"host": "gpu7", "boot_id": "x", "pipeline": "p"} | names
    return SharedBeat(content=content, age_s=age_s, **fields)


def without_age(beats: list[SharedBeat]) -> list[tuple[Any, ...]]:
    assert all(0 <= each.age_s < 60 for each in beats)
    return [each[:4] for each in beats]


def test_each_service_hears_what_the_others_do_and_not_itself(url: Callable[..., str]) -> None:
    with closing(hosts(url())) as one, closing(hosts(url())) as two:
        assert one.exchange([beat(b"1"), beat(b"2", pipeline="q")]) == []
        assert without_age(two.exchange([])) == [
            ("gpu7", "x", "p", b"1"),
            ("gpu7", "x", "q", b"2"),
        ]
        assert two.exchange([beat(b"3")]) is not None
        assert without_age(one.exchange([])) == [("gpu7", "x", "p", b"3")]


def hosts(url: str) -> Hosts:
    return Hosts(Place.parse(url))


def test_a_heartbeat_is_as_old_as_it_is_and_an_older_one_changes_nothing(
    url: Callable[..., str],
) -> None:
    with closing(hosts(url())) as one, closing(hosts(url())) as two:
        one.exchange([beat(b"1", age_s=40.0)])
        (found,) = two.exchange([])
        assert 40.0 <= found.age_s < 60.0
        one.exchange([beat(b"2", age_s=20.0)])
        one.exchange([beat(b"3", age_s=30.0)])
        (found,) = two.exchange([])
        assert found.content == b"2"


def test_what_came_long_before_the_youngest_is_not_told_again(url: Callable[..., str]) -> None:
    with closing(hosts(url())) as one, closing(hosts(url())) as two:
        one.exchange([beat(host="old", age_s=11.0), beat(host="young")])
        assert len(two.exchange([])) == 2
        assert [each.host for each in two.exchange([])] == ["young"]


def test_a_service_that_begins_hears_all_and_a_lost_host_is_gone(url: Callable[..., str]) -> None:
    with closing(hosts(url())) as one:
        one.exchange([beat(host="a", age_s=3_000.0), beat(host="b"), beat(host="b", pipeline="q")])
        one.forget("b", "x")
    with closing(hosts(url())) as two:
        assert [each.host for each in two.exchange([])] == ["a"]


@pytest.mark.parametrize("name", ["a\0b", "ü" * 256, "\U0001f525" * 256, "'; --"])
def test_any_name_is_taken(url: Callable[..., str], name: str) -> None:
    with closing(hosts(url())) as one, closing(hosts(url())) as two:
        one.exchange([beat(host=name, content=b"\0\xff")])
        (found,) = two.exchange([])
        assert found.content == b"\0\xff"
        one.forget(name, "x")
        with closing(hosts(url())) as three:
            assert three.exchange([]) == []


def test_rows_of_a_month_ago_are_swept(url: Callable[..., str]) -> None:
    day_s = 86_400.0
    with closing(hosts(url())) as one:
        one.exchange([beat(host="a", age_s=31 * day_s), beat(host="b", age_s=29 * day_s)])
    with closing(hosts(url())) as two:
        assert [each.host for each in two.exchange([])] == ["b"]


def test_a_log_of_an_earlier_version_is_brought_up_to_date(
    url: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 1)
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with closing(Session(Place.parse(url()))) as session:
        schema.migrate(session)
        assert schema.read_version(session) == 1
    monkeypatch.undo()
    log = open_log(url())
    assert not log.describe().is_current
    log.writer().close()
    assert log.describe().is_current
    with closing(hosts(url())) as one:
        assert one.exchange([beat()]) == []

"""From events to a receiver: what is kept, sent again, given up, and never sent twice."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from realm_exporter_webhook import WebhookExporter

from realm_telemetry.errors import ExportError
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.outbox import Message
from realm_telemetry.testing import FakeClock
from tests.waiting import wait_until

from .conftest import Answer, Maker, Receiver, event, options


def kept(exporter: WebhookExporter) -> list[Message]:
    """The messages, oldest first."""
    store = exporter.open_store()
    try:
        return store.outbox.messages(10_000)[::-1]
    finally:
        store.close()


def kept_in(exporter: WebhookExporter) -> Path:
    """The file of the messages."""
    return exporter.context.home / "data" / "webhooks.db"


def test_an_event_reaches_the_receiver_with_its_rule(receiver: Receiver, make: Maker) -> None:
    make(options(receiver.url(), {"kind": "job_failed"})).export_events(
        [event(1), event(2, "job_started"), event(3)]
    )
    assert [each.json["events"][0]["number"] for each in receiver.received] == [1, 3]
    assert receiver.received[0].json["rule"] == "rule1"


def test_an_address_of_an_event_needs_no_settings(receiver: Receiver, make: Maker) -> None:
    asked = msgspec.structs.replace(event(1), webhooks=(receiver.url("/SECRET"),))
    exporter = make({"allow_hosts": ["127.0.0.1"]})
    exporter.export_events([asked])
    assert receiver.received[0].path == "/SECRET"
    assert "SECRET" not in receiver.received[0].body.decode(), "others may read the message"
    (message,) = kept(exporter)
    assert "SECRET" not in f"{message.target} {message.title} {message.problem}"


def test_an_address_is_sent_to_once_by_a_shipper_and_a_service(
    receiver: Receiver, make: Maker
) -> None:
    clock = FakeClock()
    first, second = (
        msgspec.structs.replace(
            event(number, now_ns=clock.time_ns()), webhooks=(receiver.url(f"/{number}"),)
        )
        for number in (1, 2)
    )
    given = {"allow_hosts": ["127.0.0.1"], "digest": 0}
    make(given, clock=clock, pipeline="p").export_events([first])
    clock.advance(3600)  # what the service sees is late by now, and another message therefore
    make(given, clock=clock, long_lived=True).export_events([first, second])
    receiver.wait_for(2)
    assert [each.path for each in receiver.received] == ["/1", "/2"]
    assert [each.json["late"] for each in receiver.received] == [False, True]


def test_an_address_of_an_event_that_is_inside_is_never_sent_to(
    receiver: Receiver, make: Maker
) -> None:
    asked = msgspec.structs.replace(event(1), webhooks=(receiver.url(),))
    exporter = make({})
    exporter.export_events([asked])
    assert receiver.received == []
    (message,) = kept(exporter)
    assert message.state == "dead"
    assert "allow_hosts" in message.problem


def test_a_batch_that_comes_again_fires_nothing_again(receiver: Receiver, make: Maker) -> None:
    given = options(receiver.url(), {"threshold": 2})
    batch = [event(number) for number in range(1, 6)]
    first = make(given)
    first.export_events(batch)
    first.export_events(batch)
    first.shutdown()
    make(given).export_events([*batch, event(6)])
    assert len(receiver.received) == 3


def test_a_threshold_goes_on_where_a_restart_came_between(receiver: Receiver, make: Maker) -> None:
    given = options(receiver.url(), {"threshold": 3, "cooldown": "1h"})
    for number in range(1, 6):
        exporter = make(given)
        exporter.export_events([event(number)])
        exporter.shutdown()
    assert len(receiver.received) == 1, "fired at the third; the cooldown outlives restarts too"


def test_a_rule_that_was_changed_begins_anew(receiver: Receiver, make: Maker) -> None:
    for number, cooldown in enumerate(("1h", "1h", "2h"), 1):
        exporter = make(options(receiver.url(), {"cooldown": cooldown}))
        exporter.export_events([event(number)])
        exporter.shutdown()
    assert len(receiver.received) == 2


def test_what_could_not_be_kept_fires_when_it_comes_again(receiver: Receiver, make: Maker) -> None:
    exporter = make(options(receiver.url(), {"threshold": 2}), long_lived=True)
    exporter.export_events([event(1)])
    with closing(sqlite3.connect(kept_in(exporter))) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
    with pytest.raises(ExportError, match="full"):
        exporter.export_events([event(2)])
    with closing(sqlite3.connect(kept_in(exporter))) as other:
        other.execute("DROP TRIGGER full")
    exporter.export_events([event(2)])
    assert receiver.wait_for(1)[0].json["count"] == 2


def test_a_shipper_waits_as_long_as_the_receiver_asks(receiver: Receiver, make: Maker) -> None:
    clock = FakeClock()
    receiver.answers = [Answer(429, {"retry-after": "20"})]
    exporter = make(options(receiver.url()), clock=clock)
    batch = [event(1, now_ns=clock.time_ns())]
    with pytest.raises(ExportError) as caught:
        exporter.export_events(batch)
    assert caught.value.retryable
    assert caught.value.retry_after_s == pytest.approx(21, abs=1.1)
    with pytest.raises(ExportError):
        exporter.export_events(batch)
    assert len(receiver.received) == 1, "not before its time"
    clock.advance(23)
    exporter.export_events(batch)
    assert [each.headers["idempotency-key"] for each in receiver.received] == [
        receiver.received[0].headers["webhook-id"]
    ] * 2


def test_a_message_is_tried_for_a_day_and_then_dead(receiver: Receiver, make: Maker) -> None:
    clock = FakeClock()
    receiver.always = Answer(500)
    exporter = make(options(receiver.url()), clock=clock)
    batch = [event(1, now_ns=clock.time_ns())]
    tries = 0
    while kept_state(exporter, batch) == "pending":
        tries += 1
        assert tries < 500
        clock.advance(300)
    (message,) = kept(exporter)
    assert message.state == "dead"
    assert message.problem == "answered 500 (ok)"
    assert 20 < message.attempts < 300, "the pauses grow to a quarter of an hour"
    assert clock.time_ns() - message.created_unix_nano > 80_000 * 1_000_000_000


def kept_state(exporter: WebhookExporter, batch: list[Any]) -> str:
    try:
        exporter.export_events(batch)
    except ExportError:
        return "pending"
    return "settled"


def test_what_a_receiver_refuses_is_dead_at_once_and_holds_up_nothing(
    receiver: Receiver, make: Maker
) -> None:
    receiver.answers = [Answer(400, {}, b"no_text")]
    exporter = make(options(receiver.url()))
    exporter.export_events([event(1), event(2)])
    assert [(each.state, each.status) for each in kept(exporter)] == [
        ("dead", 400),
        ("delivered", 200),
    ]


@pytest.mark.alone
def test_a_target_that_hangs_delays_no_other(
    receiver: Receiver, other: Receiver, make: Maker
) -> None:
    other.always = Answer(delay_s=30.0)
    given = options(receiver.url(), {"to": ["other", "lab"]})
    given["targets"]["other"] = {"url": other.url()}
    exporter = make(given, long_lived=True)
    exporter.export_events([event(number) for number in range(1, 11)])
    receiver.wait_for(10, timeout_s=5.0)
    assert len(other.received) == 1


def test_a_target_that_fails_delays_no_other_and_keeps_its_order(
    receiver: Receiver, other: Receiver, make: Maker
) -> None:
    other.answers = [Answer(503, {"retry-after": "0"})]
    given = options(receiver.url(), {"to": ["lab", "other"]})
    given["targets"]["other"] = {"url": other.url()}
    exporter = make(given, long_lived=True)
    exporter.export_events([event(1), event(2)])
    receiver.wait_for(2)
    other.wait_for(3)
    assert [each.json["events"][0]["number"] for each in other.received] == [1, 1, 2]


def test_a_service_takes_events_while_a_receiver_hangs(receiver: Receiver, make: Maker) -> None:
    receiver.answers = [Answer(delay_s=30.0)]
    exporter = make(options(receiver.url(), timeout=1), long_lived=True)
    for number in range(1, 4):
        exporter.export_events([event(number)])
    receiver.wait_for(1)
    assert [each.state for each in kept(exporter)] == ["pending"] * 3


def test_what_a_service_left_is_sent_by_the_next(receiver: Receiver, make: Maker) -> None:
    receiver.answers = [Answer(500)]
    exporter = make(options(receiver.url()), long_lived=True)
    exporter.export_events([event(1)])
    receiver.wait_for(1)
    wait_until(lambda: kept(exporter)[0].attempts == 1)
    exporter.shutdown()
    again = make(options(receiver.url()), long_lived=True)
    again.export_events([event(2, "note")])
    assert receiver.wait_for(2)[1].json["events"][0]["number"] == 1


def test_a_crash_between_keeping_and_sending_loses_nothing(
    receiver: Receiver, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(options(receiver.url()))
    monkeypatch.setattr(first, "_send_all", lambda: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(ExportError):
        first.export_events([event(1)])
    first._release()
    make(options(receiver.url())).export_events([event(1)])
    assert len(receiver.received) == 1


def test_late_events_go_as_one_digest_when_the_exporter_ends(
    receiver: Receiver, make: Maker
) -> None:
    exporter = make(options(receiver.url()))
    exporter.export_events([event(number, age_s=120) for number in range(1, 31)])
    assert receiver.received == []
    exporter.shutdown()
    (digest,) = receiver.received
    assert (digest.json["type"], digest.json["count"]) == ("realm.digest", 30)


def test_a_service_sends_the_digest_when_its_time_has_come(receiver: Receiver, make: Maker) -> None:
    exporter = make(options(receiver.url(), digest="0.3s"), long_lived=True)
    exporter.export_events([event(number, age_s=120) for number in range(1, 4)])
    assert receiver.wait_for(1)[0].json["late"]


def test_rules_know_nothing_of_what_arrived_before_them(receiver: Receiver, make: Maker) -> None:
    before = event(1, observed_unix_nano=1)
    asked = msgspec.structs.replace(event(2, observed_unix_nano=1), webhooks=(receiver.url("/a"),))
    make(options(receiver.url("/rule")), long_lived=True).export_events([before, asked])
    receiver.wait_for(1)
    assert [each.path for each in receiver.received] == ["/a"]


def test_only_one_fires_the_rules_of_a_home(receiver: Receiver, make: Maker) -> None:
    make(options(receiver.url())).export_events([event(1, "note")])
    with pytest.raises(ExportError, match="another process") as caught:
        make(options(receiver.url())).export_events([event(2)])
    assert caught.value.retryable


def test_the_store_is_private(receiver: Receiver, make: Maker) -> None:
    exporter = make(options(receiver.url()))
    exporter.export_events([event(1)])
    assert kept_in(exporter).stat().st_mode & 0o077 == 0


def test_a_full_queue_makes_dead_letters(
    receiver: Receiver, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm_telemetry.log.outbox_tables.MAX_PENDING", 3)
    receiver.always = Answer(500)
    exporter = make(options(receiver.url()))
    with pytest.raises(ExportError):
        exporter.export_events([event(number) for number in range(1, 6)])
    assert [each.state for each in kept(exporter)] == ["pending"] * 3 + ["dead"] * 2


def test_settled_messages_are_kept_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm_telemetry.log.outbox_tables.KEPT_SETTLED", 10)
    outbox = open_log(tmp_path / "jobs.db").outbox("webhooks")
    for number in range(250):
        message = Message(
            message_id=f"msg_{number}",
            scope="",
            rule="all",
            title="",
            target="lab",
            events=1,
            body=b"{}",
            state="delivered",
            due_unix_nano=0,
            created_unix_nano=number,
        )
        outbox.take("", [], [], [message])
    left = len(outbox.messages(1000))
    outbox.close()
    assert 10 <= left <= 110

"""A transactional outbox: all of a batch or nothing, and one message to a target at a time."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from realm_telemetry.log.engine import Log
from realm_telemetry.log.errors import LogRefusedError
from realm_telemetry.log.outbox import KeptCircuit, Message, Outbox, RuleState


def message(number: int, **changes: Any) -> Message:
    """A message to the target lab, due at once."""
    fields: dict[str, Any] = {
        "message_id": f"msg_{number}",
        "scope": "main",
        "rule": "failed",
        "title": "A job failed",
        "target": "lab",
        "events": 1,
        "body": b"{}",
        "due_unix_nano": 0,
        "created_unix_nano": number,
    }
    return Message(**{**fields, **changes})


@pytest.fixture
def outbox(log: Log) -> Iterator[Outbox]:
    with closing(log.outbox("webhooks")) as outbox:
        yield outbox


def test_an_outbox_is_made_when_it_is_first_opened(log: Log) -> None:
    assert not log.has_outbox("webhooks")
    log.outbox("webhooks").close()
    assert log.has_outbox("webhooks")


def test_what_was_taken_is_there_for_all_who_open_it(log: Log, outbox: Outbox) -> None:
    states = [RuleState("failed", "dio", "v1", b"{}"), RuleState("failed", "ada", "v1", b"[]")]
    outbox.take("main", [("main", "e1"), ("request", "e2")], states, [message(1)])
    with closing(log.outbox("webhooks")) as other:
        assert other.unseen("main", ["e1", "e2"]) == {"e2"}
        assert other.unseen("request", ["e1", "e2"]) == {"e1"}
        assert other.states("main") == states
        assert other.states("other") == []
        assert [each.message_id for each in other.messages(10)] == ["msg_1"]


def test_a_batch_that_cannot_be_kept_whole_leaves_nothing(outbox: Outbox) -> None:
    outbox.take("main", [], [RuleState("failed", "dio", "v1", b"1")], [])
    broken = message(1, body=["no bytes"])
    with pytest.raises(LogRefusedError):
        outbox.take("main", [("main", "e1")], [RuleState("failed", "dio", "v1", b"2")], [broken])
    assert outbox.unseen("main", ["e1"]) == {"e1"}
    assert [each.state for each in outbox.states("main")] == [b"1"]
    assert outbox.messages(10) == []


def test_a_message_of_the_same_id_is_kept_once(outbox: Outbox) -> None:
    outbox.take("main", [], [], [message(1)])
    outbox.take("main", [], [], [message(1, title="again"), message(2)])
    assert [each.title for each in outbox.messages(10)] == ["A job failed", "A job failed"]


def test_messages_to_one_target_go_one_after_the_other(outbox: Outbox) -> None:
    outbox.take("main", [], [], [message(1), message(2), message(3, target="other")])
    first = outbox.claim("main", now_ns=10, lease_ns=100, most=10)
    assert [each.message_id for each in first] == ["msg_1", "msg_3"]
    assert outbox.claim("main", now_ns=10, lease_ns=100, most=10) == []
    outbox.record(first[0], "delivered", 20, status=200)
    assert [each.message_id for each in outbox.claim("main", 20, 100, 10)] == ["msg_2"]


def test_a_claim_ends_for_a_sender_that_died(outbox: Outbox) -> None:
    outbox.take("main", [], [], [message(1)])
    assert len(outbox.claim("main", now_ns=10, lease_ns=100, most=1)) == 1
    assert outbox.next_due_ns("main") == 110
    assert outbox.claim("main", now_ns=109, lease_ns=100, most=1) == []
    assert len(outbox.claim("main", now_ns=110, lease_ns=100, most=1)) == 1


def test_the_message_that_was_due_for_longest_is_claimed_first(outbox: Outbox) -> None:
    dues = {"a": 5, "b": 3, "c": 4}
    messages = [
        message(number, target=target, due_unix_nano=due)
        for number, (target, due) in enumerate(dues.items(), 1)
    ]
    outbox.take("main", [], [], messages)
    assert [each.target for each in outbox.claim("main", 10, 100, 2)] == ["b", "c"]


def test_a_message_that_is_not_wanted_now_stays_due(outbox: Outbox) -> None:
    outbox.take("main", [], [], [message(1), message(2, target="other", url="https://x/y")])
    asked: list[tuple[str, str | None]] = []

    def wanted(target: str, url: str | None) -> bool:
        asked.append((target, url))
        return url is None

    claimed = outbox.claim("main", 10, 100, 10, wanted)
    assert [each.target for each in claimed] == ["lab"]
    assert asked == [("lab", None), ("other", "https://x/y")]
    assert outbox.next_due_ns("main") == 0


def test_messages_of_rules_and_to_named_addresses_have_bounds_of_their_own(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm_telemetry.log.outbox_tables.MAX_PENDING", 2)
    named = [message(number, url=f"https://x/{number}") for number in range(4)]
    outbox.take("main", [], [], named)
    outbox.take("main", [], [], [message(number) for number in range(10, 13)])
    states = {each.message_id: each.state for each in outbox.messages(10)}
    assert [states[f"msg_{number}"] for number in range(4)] == ["pending"] * 2 + ["dead"] * 2
    assert [states[f"msg_{number}"] for number in range(10, 13)] == ["pending"] * 2 + ["dead"]


def test_the_hosts_that_a_scope_leaves_alone_are_kept_in_place_of_those_before(
    outbox: Outbox,
) -> None:
    one = KeptCircuit("rules", "a:443", 3, 7, "no answer")
    other = KeptCircuit("events", "b:1", 3, 8, "")
    outbox.keep_circuits("main", [one, other])
    outbox.keep_circuits("another", [])
    assert outbox.circuits() == [one, other]
    outbox.keep_circuits("main", [other])
    assert outbox.circuits() == [other]


def test_a_scope_begins_once(outbox: Outbox) -> None:
    assert outbox.began_ns("main", 7) == 7
    assert outbox.began_ns("main", 9) == 7


def test_a_rule_that_is_defined_otherwise_forgets(outbox: Outbox) -> None:
    states = [RuleState(rule, "", "v1", b"{}") for rule in ("kept", "changed", "gone")]
    outbox.take("main", [], states, [])
    outbox.forget_other_rules("main", {"kept": "v1", "changed": "v2"})
    assert [each.rule for each in outbox.states("main")] == ["kept"]


def test_events_are_new_again_after_a_replay_is_asked_for(outbox: Outbox) -> None:
    outbox.take("main", [("main", "e1"), ("main", "e2")], [], [])
    outbox.forget("main", ["e1"])
    assert outbox.unseen("main", ["e1", "e2"]) == {"e1"}
    assert (outbox.replays("main"), outbox.replays("other")) == (1, 0)


def test_a_lease_is_held_by_one_at_a_time(log: Log) -> None:
    one, other = log.lease("webhooks-main"), log.lease("webhooks-main")
    assert one.take()
    assert not other.take()
    one.release()
    assert other.take()
    other.release()

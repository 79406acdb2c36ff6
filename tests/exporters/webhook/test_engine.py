"""When rules fire, and that a restart changes nothing."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from realm_exporter_webhook.engine import Engine, Firing
from realm_exporter_webhook.memory import MAX_GROUPS, SHOWN_EVENTS, State
from realm_exporter_webhook.settings import read_config

from realm_telemetry.event import Event

from .conftest import event, options

S = 1_000_000_000
NOW = 1_764_374_400 * S


def engine(*rules: dict[str, Any], states: Any = None) -> Engine:
    config = read_config(options("https://example.org/hook", *rules))
    return Engine(config, late_after_s=600, digest_s=60, states=states)


def at(second: float, number: int = 0, **fields: Any) -> Event:
    now_ns = NOW + int(second * S)
    return event(number or int(second * 10) + 1, now_ns=now_ns, **fields)


def fire(rules: Engine, events: Sequence[Event]) -> list[Firing]:
    return [
        firing for each in events for firing in rules.take(each, each.observed_unix_nano or NOW)
    ]


def seconds_of(firings: Sequence[Firing]) -> list[float]:
    return [(firing.time_unix_nano - NOW) / S for firing in firings]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"kind": "job_failed"}, True),
        ({"kind": ["job_started", "job_failed"]}, True),
        ({"kind": "job_started"}, False),
        ({"kind": "!job_failed"}, False),
        ({"kind": ["!job_started"], "severity": "error"}, True),
        ({"channel": "jobs", "severity": "error"}, True),
        ({"severity": ["warning"]}, False),
        ({"has": "job.type:eval"}, True),
        ({"has": ["job.type:eval", "attempt:4"]}, False),
        ({"not": "attempt:3"}, False),
        ({"not": "attempt:4"}, True),
        ({"hero": "dio", "q": "memory"}, True),
    ],
)
def test_a_rule_fires_for_what_its_filters_want(rule: dict[str, Any], wanted: bool) -> None:
    failed = at(0, details={"job": {"type": "eval"}, "attempt": 3, "error": "out of memory"})
    failed = msgspec.structs.replace(failed, hero_id="dio", message="Out of memory")
    assert bool(fire(engine(rule), [failed])) is wanted


def test_a_threshold_fires_at_so_many_within_its_window_and_begins_anew() -> None:
    rules = engine({"threshold": 3, "window": "10s"})
    assert seconds_of(fire(rules, [at(s) for s in (0, 6, 12, 13, 14, 15, 16)])) == [13, 16]


def test_a_threshold_sends_the_events_that_reached_it() -> None:
    (firing,) = fire(engine({"threshold": 2, "window": "10s"}), [at(0), at(20), at(21)])
    assert [each.number for each in firing.events] == [201, 211]
    assert firing.count == 2


def test_a_cooldown_holds_back_and_the_next_message_counts_them() -> None:
    firings = fire(engine({"cooldown": "10s"}), [at(s) for s in (0, 3, 9, 10, 11)])
    assert seconds_of(firings) == [0, 10]
    assert [firing.held for firing in firings] == [0, 2]


def test_groups_count_and_cool_down_apart() -> None:
    rules = engine({"cooldown": "1h", "group_by": ["hero", "details.job.id"]})
    events = [
        msgspec.structs.replace(at(0, number), hero_id=hero, details={"job": {"id": job}})
        for number, (hero, job) in enumerate([("dio", 1), ("dio", 1), ("dio", 2), ("eva", 1)], 1)
    ]
    assert [firing.group for firing in fire(rules, events)] == [
        "hero=dio, details.job.id=1",
        "hero=dio, details.job.id=2",
        "hero=eva, details.job.id=1",
    ]


def test_what_is_collected_goes_as_one_message_when_its_time_has_come() -> None:
    rules = engine({"collect": "30s"})
    assert fire(rules, [at(s) for s in range(20)]) == []
    assert rules.memory.next_due_ns() == NOW + 30 * S
    assert rules.tick(NOW + 29 * S) == []
    (firing,) = rules.tick(NOW + 30 * S)
    assert firing.count == 20
    assert len(firing.events) == SHOWN_EVENTS
    assert rules.tick(NOW + 90 * S) == []


def test_late_events_are_one_digest_of_the_rule_over_all_groups() -> None:
    rules = engine({"group_by": "hero", "threshold": 2, "cooldown": "1h"})
    late = [
        msgspec.structs.replace(at(0, number, age_s=61 + number), hero_id=str(number))
        for number in range(1, 6)
    ]
    assert fire(rules, late) == []
    (digest,) = rules.tick(NOW + 60 * S)
    assert (digest.late, digest.count, digest.group) == (True, 5, "")


def test_an_event_that_waited_long_in_the_log_is_late_too() -> None:
    rules = engine({})
    assert rules.take(at(0), NOW + 601 * S) == []
    assert [firing.late for firing in rules.flush(NOW + 601 * S)] == [True]


def test_addresses_of_an_event_are_asked_once_each_without_any_rule() -> None:
    asked = msgspec.structs.replace(at(0), webhooks=("https://a/x", "https://b/y", "https://a/x"))
    firings = fire(engine({"kind": "nothing"}), [asked])
    assert [(firing.rule, firing.to) for firing in firings] == [
        ("request", ("https://a/x",)),
        ("request", ("https://b/y",)),
    ]


def test_a_clock_that_is_ahead_does_not_silence_a_rule() -> None:
    rules = engine({"cooldown": "10s"})
    ahead = msgspec.structs.replace(at(0), time_unix_nano=NOW + 86_400 * S)
    assert seconds_of(fire(rules, [ahead, at(5), at(11)])) == [0, 11]


def test_a_rule_remembers_so_many_groups_and_forgets_the_most_silent() -> None:
    rules = engine({"group_by": "run", "cooldown": "1h"})
    events = [msgspec.structs.replace(at(0, n), run_id=f"r{n}") for n in range(1, MAX_GROUPS + 2)]
    assert len(fire(rules, events)) == MAX_GROUPS + 1
    assert len(list(rules.memory.items())) == MAX_GROUPS
    assert rules.memory.changed[("rule1", "run=r1")] is None


def test_a_group_that_has_to_make_room_sends_what_it_has_gathered() -> None:
    """However many groups gather at once, no more than so many are remembered, and none is lost."""
    rules = engine({"group_by": "run", "collect": "1h"})
    events = [msgspec.structs.replace(at(0, n), run_id=f"r{n}") for n in range(1, MAX_GROUPS + 3)]
    late = msgspec.structs.replace(at(0, 9, age_s=61), run_id="r9")
    early = fire(rules, [*events[:-1], late, events[-1]])
    assert [firing.group for firing in early] == ["run=r1", "run=r2", "run=r3"]
    assert len(list(rules.memory.items())) == MAX_GROUPS
    assert len(rules.flush(NOW)) == MAX_GROUPS


def test_reminders_of_groups_that_are_gone_are_taken_out() -> None:
    rules = engine({"group_by": "run", "collect": "1h"})
    for number in range(1, 12 * MAX_GROUPS):
        rules.take(msgspec.structs.replace(at(0, number), run_id=f"r{number}"), NOW)
    assert len(rules.memory._dues) <= 11 * MAX_GROUPS
    assert len(rules.flush(NOW)) == MAX_GROUPS


def test_matches_out_of_order_count_within_the_window_of_each() -> None:
    rules = engine({"threshold": 3, "window": "10s"})
    assert seconds_of(fire(rules, [at(5), at(1), at(12), at(9)])) == [9]


RULES = (
    {"threshold": 3, "window": "7s", "cooldown": "5s", "group_by": "hero"},
    {"collect": "4s"},
    {"cooldown": "20s"},
)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from("ab"), st.integers(0, 90)), max_size=40),
    st.integers(0, 40),
)
def test_a_restart_at_any_place_changes_nothing(
    given: list[tuple[int, str, int]], place: int
) -> None:
    events = [
        msgspec.structs.replace(at(second, number, age_s=age), hero_id=hero)
        for number, (second, hero, age) in enumerate(sorted(given), 1)
    ]
    whole = engine(*RULES)
    expected = run(whole, events)
    first = engine(*RULES)
    got = run(first, events[:place])
    kept = {key: again(state) for key, state in first.memory.items()}
    second = engine(*RULES, states=kept)
    got += run(second, events[place:])
    assert got == expected
    assert second.flush(NOW + 999 * S) == whole.flush(NOW + 999 * S)


def run(rules: Engine, events: Sequence[Event]) -> list[Firing]:
    firings = []
    for each in events:
        now_ns = each.observed_unix_nano or NOW
        firings += rules.tick(now_ns) + rules.take(each, now_ns)
    return firings


def again(state: State) -> State:
    return msgspec.json.decode(msgspec.json.encode(state), type=State)

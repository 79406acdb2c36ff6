"""Comparisons, statuses of runs, and what stays away."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from realm_exporter_webhook.conditions import (
    MAX_COMPARISONS,
    OPERATORS,
    read_condition,
    refuse_impossible,
)
from realm_exporter_webhook.engine import Engine, Firing
from realm_exporter_webhook.rules import BAD_ENDS, BUILT_IN, SETTLE_S
from realm_exporter_webhook.run_facts import StreamFacts
from realm_exporter_webhook.settings import read_config

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.log import LogWriter, ProducerInfo

from .conftest import Invoke, Maker, Receiver, event, options
from .settings_file import write_settings

S = 1_000_000_000
NOW = 1_764_374_400 * S


@pytest.mark.parametrize(
    ("text", "details", "fits"),
    [
        ("loss > 5", {"loss": 5.1}, True),
        ("loss > 5", {"loss": 5}, False),
        ("loss>=5", {"loss": 5}, True),
        ("accuracy < 0.8", {"accuracy": 0.5}, True),
        ("accuracy < 0.8", {}, False),
        ("loss > 5", {"loss": "Infinity"}, True),
        ("loss > 5", {"loss": "NaN"}, False),
        ("loss > 0", {"loss": True}, False),
        ("loss > 5", {"loss": [9]}, False),
        ("val.loss > 1e-3", {"val": {"loss": 0.01}}, True),
        ('"a>b" <= 1', {"a>b": 1}, True),
        ("train/loss != 0", {"train/loss": -0.5}, True),
        ("phase == 'eval and more'", {"phase": "eval and more"}, True),
        ('phase != "eval"', {"phase": "train"}, True),
        ('phase != "eval"', {}, False),
        ("loss > 5 and accuracy < 0.8", {"loss": 6, "accuracy": 0.1}, True),
        ("loss > 5 and accuracy < 0.8", {"loss": 6, "accuracy": 0.9}, False),
    ],
)
def test_a_comparison_holds_for_numbers_and_text(
    text: str, details: dict[str, Any], fits: bool
) -> None:
    assert all(each.holds(details) for each in read_condition(text)) is fits


@pytest.mark.parametrize(
    ("where", "is_possible"),
    [
        ("loss > 5 and loss < 3", False),
        (["loss > 5", "acc > 1", "loss < 3"], False),
        ("loss > 5 and loss <= 5", False),
        ("loss >= 5 and loss <= 5", True),
        ("loss >= 5 and loss <= 5 and loss != 5", False),
        ("loss == 5 and loss == 6", False),
        ("loss == 5 and loss == '5'", False),
        ("phase == 'a' and phase != 'a'", False),
        ("phase != 'a' and phase != 'b'", True),
        ("x != 1 and x != 2", True),
        ("loss > inf", False),
        ("loss >= inf", True),
        ("a > 5 and b < 3", True),
        (" and ".join(f"x{n} > {n}" for n in range(MAX_COMPARISONS)), True),
        (" and ".join(f"x{n} > {n}" for n in range(MAX_COMPARISONS + 1)), False),
    ],
)
def test_comparisons_that_no_event_can_fit_are_an_error(where: Any, is_possible: bool) -> None:
    given = options("https://x.example", {"where": where})
    if is_possible:
        read_config(given)
        return
    with pytest.raises(ConfigError, match=r"holds for no value|more than 64") as caught:
        read_config(given)
    assert caught.value.setting == "options.webhook.rules: rule1.where"


@given(
    st.lists(st.tuples(st.sampled_from(sorted(OPERATORS)), st.integers(-2, 2)), min_size=1),
)
def test_comparisons_are_possible_if_some_number_fits(parts: list[tuple[str, int]]) -> None:
    comparisons = read_condition(" and ".join(f"x {sign} {limit}" for sign, limit in parts))
    values = [half / 2 for half in range(-6, 7)]
    fits = any(all(each.holds({"x": value}) for each in comparisons) for value in values)
    if len(comparisons) > MAX_COMPARISONS:
        return
    try:
        refuse_impossible(comparisons)
    except ValueError:
        assert not fits
    else:
        assert fits


@given(st.sampled_from(sorted(OPERATORS)), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_comparison_is_that_of_the_numbers(sign: str, found: float, limit: float) -> None:
    (condition,) = read_condition(f"x {sign} {limit!r}")
    shown = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(found, found)
    assert condition.holds({"x": shown}) is OPERATORS[sign](found, limit)


@pytest.mark.parametrize(
    ("rule", "setting", "fix"),
    [
        ({"where": "loss"}, "a.where", "loss > 5"),
        ({"where": "loss > "}, "a.where", "loss > 5"),
        ({"where": "loss => 5"}, "a.where", "loss > 5"),
        ({"where": "loss > high"}, "a.where", "loss > 5"),
        ({"where": "loss > nan"}, "a.where", "loss > 5"),
        ({"where": "phase < 'eval'"}, "a.where", "loss > 5"),
        ({"where": "loss > 5 or acc < 1"}, "a.where", "loss > 5"),
        ({"where": 5}, "a.where", "Write"),
        ({"where": []}, "a.where", "loss > 5"),
        ({"where": ["loss > 5", ""]}, "a.where", "loss > 5"),
        ({"where": "5 < loss < 10"}, "a.where", "loss > 5"),
        ({"where": "phase == train"}, "a.where", "text in quotes"),
        ({"status": []}, "a.status", "Name what it is to be"),
        ({"status": "FAILED"}, "a.status", "'failed'"),
        ({"kind": ""}, "a.kind", "Name what it is to be"),
        ({"kind": []}, "a.kind", "Name what it is to be"),
        ({"severity": ["error", ""]}, "a.severity", "Name what it is to be"),
        ({"rank": -1}, "a.rank", "rank=0"),
        ({"rank": True}, "a.rank", "Write"),
        ({"rank": 1.5}, "a.rank", "Write"),
        ({"producer": "trainer"}, "a.producer", "16 hexadecimal"),
        ({"trace": ["a" * 32, "b" * 31]}, "a.trace", "32 hexadecimal"),
        ({"to": ["", " "]}, "a.to", "at least one"),
        ({"status": "faild"}, "a.status", "'failed'"),
        ({"expect": "checkpoint_saved"}, "a.expect", "docs/webhooks.md"),
        ({"expect": {"within": "2h"}}, "a.expect.kind", "checkpoint_saved"),
        ({"expect": {"kind": "!x", "within": "2h"}}, "a.expect.kind", "checkpoint_saved"),
        ({"expect": {"kind": "x"}}, "a.expect.within", "10m"),
        ({"expect": {"kind": "x", "within": "0s"}}, "a.expect.within", "10m"),
        ({"expect": {"kind": "x", "withn": "2h"}}, "a.expect.withn", "'within'"),
        ({"expect": {"kind": "x", "within": 5}, "kind": "y"}, "a.kind", "into expect"),
        ({"expect": {"kind": "x", "within": 5}, "silent_for": 5}, "a.silent_for", "expect"),
        ({"silent_for": "30m", "threshold": 2}, "a.threshold", "silent_for"),
        ({"silent_for": "soon"}, "a.silent_for", "10m"),
    ],
)
def test_a_bad_condition_names_the_rule_the_setting_and_what_is_allowed(
    rule: dict[str, Any], setting: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(options("https://example.org", {"name": "a"} | rule))
    assert caught.value.setting.endswith(setting)
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        *("not loss > 5", "and loss > 5", "max(loss) > 5", "details.loss > 5", "loss | acc > 5"),
        *("loss,acc > 5", "loss & acc > 5", "train loss > 5"),
    ],
)
def test_a_condition_of_another_language_is_refused_where_it_would_never_fire(text: str) -> None:
    with pytest.raises(ValueError, match="name of one detail"):
        read_condition(text)
    name = text.removesuffix(" > 5")
    (quoted,) = read_condition(f'"{name}" > 5')
    assert quoted.holds({name: 6})


def test_a_rank_is_a_number_too() -> None:
    given = options("https://example.org", {"name": "a", "rank": [0, "3"], "kind": "note"})
    (rule,) = read_config(given).rules
    assert [rule.concerns(event(1, "note", rank=rank)) for rank in (0, 1, 3)] == [True, False, True]


@pytest.mark.parametrize(
    ("alerts", "setting", "fix"),
    [
        ({"off": ["disk"]}, "alerts.off", "'disk_low'"),
        ({"to": "lap"}, "alerts.to", "'lab'"),
        ({"of": []}, "alerts.of", "'off'"),
        (["lab"], "alerts", "docs/webhooks.md"),
    ],
)
def test_a_bad_table_of_built_in_rules_names_the_setting(
    alerts: Any, setting: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(options("https://example.org", alerts=alerts))
    assert caught.value.setting.endswith(setting)
    assert fix in caught.value.fix


def test_built_in_rules_are_on_with_a_target_and_off_one_by_one() -> None:
    def names(**changes: Any) -> tuple[str, ...]:
        config = read_config(options("https://example.org", {"name": "own"}, **changes))
        return tuple(rule.name for rule in config.built_in)

    assert names() == BUILT_IN
    assert names(alerts={"off": ["disk_low"]}) == BUILT_IN[:-1]
    assert names(alerts={"to": []}) == ()
    assert read_config({}).built_in == ()
    own = options("https://example.org", {"name": "stalled"})
    assert "stalled" not in [rule.name for rule in read_config(own).built_in]
    assert {"failed", "killed", "crashed", "out_of_memory", "lost"} <= set(BAD_ENDS)
    assert not {"running", "stalled", "paused", "completed", "cancelled"} & set(BAD_ENDS)


class Stage:
    """An engine that is shown events one after the other, and what it fires."""

    def __init__(self, *rules: dict[str, Any], alerts: Any = None) -> None:
        given = options("https://example.org/hook", *rules, alerts=alerts or {"to": []})
        self.config = read_config(given if rules else given | {"rules": []})
        self.facts = StreamFacts()
        self.engine = self._engine()
        self.number = 0

    def _engine(self, states: Any = None) -> Engine:
        return Engine(self.config, late_after_s=600, digest_s=60, facts=self.facts, states=states)

    def restart(self) -> None:
        kept = {key: msgspec.json.encode(state) for key, state in self.engine.memory.items()}
        old = type(next(iter(self.engine.memory.items()))[1])
        states = {key: msgspec.json.decode(text, type=old) for key, text in kept.items()}
        self.engine = self._engine(states)

    def at(
        self, second: float, kind: str, *, run: str | None = "r7", **fields: Any
    ) -> list[Firing]:
        now_ns = NOW + int(second * S)
        self.number += 1
        shown = event(self.number, kind, now_ns=now_ns, run_id=run, **fields)
        firings = self.engine.tick(now_ns)
        for rule in self.config.every_rule:
            self.facts.note(shown, rule.sought)
        firings += self.engine.take(shown, now_ns) if self.engine.wants(shown) else []
        # What is gathered about a run's status is due then.
        return firings + self.engine.tick(now_ns + int(SETTLE_S * S))

    def wait(self, second: float) -> list[Firing]:
        return self.engine.tick(NOW + int(second * S))


def ended(status: str) -> dict[str, Any]:
    return {"details": {"status": status}, "severity": "error"}


def test_a_status_is_reported_once_for_a_run_and_status() -> None:
    stage = Stage({"status": ["stalled", "failed"]})
    assert stage.at(0, "run_started") == []
    assert len(stage.at(1, "run_stalled", details={"silent_s": 9})) == 1
    stage.restart()
    assert stage.at(2, "run_resumed_progress") == []
    assert stage.at(3, "run_stalled", details={"silent_s": 9}) == []
    assert len(stage.at(4, "run_ended", **ended("failed"))) == 1
    stage.restart()
    assert stage.at(5, "process_lost") == []
    assert len(stage.at(6, "run_ended", run="r8", **ended("failed"))) == 1


def test_what_is_said_of_a_status_is_gathered_for_each_run_apart() -> None:
    stage = Stage({"status": "failed"})
    events = [event(n, "run_ended", now_ns=NOW, run_id=f"r{n}", **ended("failed")) for n in (1, 2)]
    for each in events:
        stage.facts.note(each, None)
        assert stage.engine.take(each, NOW) == []
    stage.restart()
    assert [firing.group for firing in stage.wait(SETTLE_S)] == ["run=r1", "run=r2"]
    counting = Stage({"status": "failed", "threshold": 2, "collect": 0})
    assert counting.at(0, "run_ended", run="r1", **ended("failed")) == []
    assert [each.count for each in counting.at(1, "run_ended", run="r2", **ended("failed"))] == [2]


def test_a_run_of_several_ranks_fails_when_all_have_ended() -> None:
    stage = Stage({"status": "failed"})
    ranks: list[dict[str, Any]] = [{"rank": rank, "producer": f"a{rank}" * 8} for rank in range(3)]
    for rank in ranks:
        stage.at(0, "run_started", details={"world_size": 3}, **rank)
    fired = [stage.at(1, "run_ended", **ended("failed"), **rank) for rank in ranks]
    assert [len(each) for each in fired] == [0, 0, 1]


def test_a_built_in_rule_fires_once_for_a_run_whatever_comes_then() -> None:
    stage = Stage(alerts={"to": ["lab"]})
    stage.at(0, "run_started")
    not_finite: dict[str, Any] = {"details": {"field": "loss", "value": "NaN"}}
    assert [f.rule for f in stage.at(1, "loss_not_finite", **not_finite)] == ["not_finite"]
    assert stage.at(2, "loss_not_finite", **not_finite) == []
    lost = {"host": "gpu7", "silent_s": 31.0}
    assert [f.rule for f in stage.at(2, "host_lost", run=None, details=lost)] == ["host_lost"]
    assert [f.rule for f in stage.at(3, "disk_low", details={"path": "/"})] == ["disk_low"]
    assert stage.at(4, "disk_low", details={"path": "/data"}) == []
    assert [f.rule for f in stage.at(5, "run_stalled")] == ["stalled"]
    assert [f.rule for f in stage.at(6, "run_ended", **ended("killed"))] == ["run_ended_badly"]
    assert stage.at(7, "run_ended", producer="e7" * 8, **ended("crashed")) == []
    assert stage.at(8, "run_ended", run="r8", details={"status": "completed"}) == []


def test_a_rank_is_a_filter_of_rules() -> None:
    stage = Stage({"kind": "loss_not_finite", "rank": "0"})
    assert stage.at(1, "loss_not_finite", rank=3) == []
    assert len(stage.at(2, "loss_not_finite", rank=0)) == 1


EXPECT = {"expect": {"kind": "checkpoint_saved", "within": "100s"}}


def test_what_is_expected_and_stays_away_is_reported_once() -> None:
    stage = Stage(EXPECT)
    stage.at(0, "run_started")
    assert stage.wait(99) == []
    (firing,) = stage.wait(100)
    assert (firing.about, firing.group) == ("no checkpoint_saved for 100s", "r7")
    stage.restart()
    assert stage.wait(150) + stage.wait(250) + stage.wait(350) == []
    stage.at(360, "checkpoint_saved")
    assert stage.wait(450) == []  # looked for it: it came at 360
    assert stage.wait(459) == []
    assert len(stage.wait(560)) == 1


def test_nothing_is_expected_of_a_run_that_has_ended_or_pauses() -> None:
    stage = Stage(EXPECT)
    stage.at(0, "run_started")
    stage.at(50, "run_ended", details={"status": "completed"})
    assert stage.wait(500) == []
    assert list(stage.engine.memory.items()) == []
    stage.at(600, "run_started", run="r8")
    stage.at(601, "training_paused", run="r8")
    assert stage.wait(900) == []
    stage.at(901, "training_resumed", run="r8")
    stage.restart()
    assert len(stage.wait(1100)) == 1


def test_a_silence_is_of_what_the_run_itself_says() -> None:
    """What its shipper samples is no sign of life; a step is."""
    stage = Stage({"silent_for": "100s"})
    stage.at(0, "run_started")
    assert stage.at(90, "training_step", details={"step": 1}) == []
    assert stage.wait(100) == []
    stage.at(180, "resource_sampled")
    (firing,) = stage.wait(190)
    assert firing.about == "silent for 100s"


def test_a_rule_about_absence_chooses_runs_by_its_filters() -> None:
    stage = Stage(EXPECT | {"campaign": "big"})
    stage.at(0, "run_started")
    stage.at(1, "run_started", run="r8", campaign_id="big")
    assert [firing.group for firing in stage.wait(200)] == ["r8"]


def test_a_start_that_comes_again_or_is_old_begins_nothing_anew() -> None:
    stage = Stage(EXPECT)
    stage.at(0, "run_started")
    stage.at(90, "training_started")
    assert len(stage.wait(100)) == 1
    ended_before = event(999, "run_started", now_ns=NOW, run_id="r1")
    stage.facts.note(ended_before, None)
    stage.facts.note(event(1000, "run_ended", now_ns=NOW, run_id="r1", **ended("failed")), None)
    assert stage.engine.take(ended_before, NOW + 900 * S) == []
    assert [firing.group for firing in stage.wait(900)] == []


RULES = """
[[options.webhook.rules]]
name = "high"
to = "lab"
where = "loss > 5"
[[options.webhook.rules]]
name = "gone"
to = "lab"
status = ["lost"]
[[options.webhook.rules]]
name = "no-checkpoint"
to = "lab"
expect = { kind = "checkpoint_saved", within = "10m" }
[[options.webhook.rules]]
name = "silent"
to = "lab"
silent_for = "20m"
"""


def test_a_backtest_tries_every_condition(home: Path, invoke: Invoke, receiver: Receiver) -> None:
    """A run with a checkpoint every five minutes, one high loss, and then nothing but its loss."""
    import time

    write_settings(home, receiver.url(), RULES)
    start_ns = time.time_ns() - 7200 * S
    clock = [start_ns]
    with LogWriter(home / "vault" / "jobs.db", clock_ns=lambda: clock[0]) as log:
        log.register_producer(ProducerInfo("d0" * 8))

        def append(second: int, kind: str, **details: Any) -> None:
            clock[0] = start_ns + second * S
            number = second + 1
            log.append([event(number, kind, now_ns=clock[0], run_id="r7", details=details)])

        append(0, "run_started")
        for minute in range(1, 21):
            kind = "training_step" if minute % 5 else "checkpoint_saved"
            append(60 * minute, kind, step=minute, loss=9.0 if minute == 7 else 0.5)
        append(3600, "run_ended", status="lost")
    found = {
        each["rule"]: each
        for each in json.loads(invoke("backtest", "--since", "1d", "--json").output)
    }
    assert {name: each["messages"] for name, each in found.items()} == {
        "high": 1,
        "gone": 1,
        "no-checkpoint": 1,
        "silent": 1,
        "run_ended_badly": 1,
        "stalled": 0,
        "not_finite": 0,
        "host_lost": 0,
        "disk_low": 0,
    }
    assert receiver.received == []
    shown = invoke("list").output
    assert "loss is over 5" in shown
    assert "checkpoint_saved" in shown
    assert "for 10 minutes" in shown
    assert "is silent for 20 minutes" in shown


class Clock:
    """A clock that a test moves."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def time_ns(self) -> int:
        return self.now_ns

    def time(self) -> float:
        return self.now_ns / S

    def monotonic(self) -> float:
        return self.now_ns / S


def test_a_service_that_was_down_reports_what_is_still_away_once(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    """One run's checkpoint came meanwhile, the other's did not."""
    clock = Clock(NOW)

    def stored(number: int, kind: str, run: str) -> Event:
        shown = event(number, kind, now_ns=clock.now_ns, run_id=run)
        with LogWriter(tmp_path / "vault" / "jobs.db", clock_ns=clock.time_ns) as log:
            log.register_producer(ProducerInfo(shown.producer))
            log.append([shown])
        return shown

    given = options(receiver.url(), EXPECT, alerts={"to": []})
    first = make(given, clock=clock)
    first.export_events([stored(1, "run_started", "r7"), stored(2, "run_started", "r8")])
    first.shutdown()
    clock.now_ns += 50 * S
    stored(3, "checkpoint_saved", "r8")
    clock.now_ns += 60 * S
    for number, later_s in enumerate((0, 20, 15), 4):
        clock.now_ns += later_s * S
        again = make(given, clock=clock)
        again.export_events([event(number, "note", now_ns=clock.now_ns)])
        again.shutdown()
    assert [each.json["group"] for each in receiver.received] == ["r7"]
    assert receiver.received[0].json["about"] == "no checkpoint_saved for 100s"
    clock.now_ns += 90 * S
    last = make(given, clock=clock)
    last.export_events([event(9, "note", now_ns=clock.now_ns)])
    assert [each.json["group"] for each in receiver.received] == ["r7", "r8"]

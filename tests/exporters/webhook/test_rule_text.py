"""Rules as sentences for people."""

from typing import Any

import pytest
from realm_exporter_webhook.rule_text import when
from realm_exporter_webhook.rules import BAD_ENDS, built_in_rules
from realm_exporter_webhook.settings import read_config

from realm_telemetry.folds.runs import statuses

SENTENCES: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "At every event."),
    ({"kind": "job_failed", "cooldown": "1h"}, "When a job fails. Then nothing for 1 hour."),
    (
        {"kind": "job_failed", "hero": "dio", "where": 'phase == "eval"'},
        'When a job fails, in an event of the hero dio where phase is "eval".',
    ),
    (
        {"kind": ["a", "b", "c"], "channel": "!debug", "has": "job_type:eval"},
        "When an event of the kind a, b or c not of the channel debug with the detail"
        " job_type:eval comes.",
    ),
    (
        {"severity": "error", "threshold": 1000, "window": "90s", "group_by": ["hero", "rank"]},
        "When 1,000 events of the severity error come within 90 seconds."
        " Apart for each hero and rank.",
    ),
    ({"kind": "job_failed", "threshold": 2},
     "When 2 events of the kind job_failed come within 10 minutes."),
    (
        {"kind": "training_step", "where": "loss > 5 and step >= 1000", "collect": "1m"},
        "When an event of the kind training_step where loss is over 5 and step is at least 1,000"
        " comes. With what else comes within 1 minute.",
    ),
    (
        {"status": ["failed", "out_of_memory"], "campaign": "c1"},
        "When a run of the campaign c1 fails or runs out of memory. Once for each run."
        " With what else comes within 3 seconds.",
    ),
    (
        {"expect": {"kind": "checkpoint_saved", "within": "2h"}, "run": "r7"},
        "When a run named r7 goes on and no event of the kind checkpoint_saved comes for"
        " 2 hours since its start, or since the one before.",
    ),
    ({"silent_for": "36h"}, "When a run goes on and is silent for 36 hours."),
    (
        {"silent_for": "2d", "kind": ["training_step", "note"]},
        "When a run goes on and no event of the kind training_step or note comes for 2 days.",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("given", "sentence"), SENTENCES)
def test_a_rule_is_a_sentence(given: dict[str, Any], sentence: str) -> None:
    """With all that realm.toml can say of it."""
    rule = {"name": "one", "to": "lab", **given}
    options = {"targets": {"lab": {"url": "https://lab.example/x"}}, "rules": [rule]}
    assert when(read_config(options).rules[0]) == sentence


def test_the_built_in_rules_are_sentences() -> None:
    """Without a name of a kind or of a status."""
    found = {rule.name: when(rule) for rule in built_in_rules(["lab"], [])}
    assert found["not_finite"] == (
        "When a loss or another number becomes NaN or infinite. Once for each run."
    )
    assert found["run_ended_badly"].startswith("When a run fails, is killed, ")
    assert all("_" not in sentence for sentence in found.values())
    assert set(BAD_ENDS) < set(statuses())

"""`realm webhooks` and what the doctor says of rules."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from realm_exporter_webhook import WebhookExporter
from realm_exporter_webhook.rules import GROUP_FIELDS, RULE_FILTERS
from realm_exporter_webhook.settings import RULE_KEYS, TARGET_KEYS, read_config

from realm_telemetry.log import LogWriter

from .conftest import Answer, Invoke, Maker, Receiver, event, options
from .settings_file import RULES, failed, write_settings

DOCUMENT = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_without_settings_it_names_the_file_for_them(home: Path, invoke: Invoke) -> None:
    for name in ((), ("list",), ("backtest",), ("log",)):
        if name == ("backtest",):
            LogWriter(home / "vault" / "jobs.db").close()
        result = invoke(*name)
        assert result.exit_code == 0
        assert "realm.toml" in result.output or "no such message" in result.output


def test_the_list_shows_rules_counts_and_targets_without_secrets(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    write_settings(home, receiver.url("/SECRET"), RULES)
    failed(home, make, receiver)
    result = invoke()
    assert result.exit_code == 0
    assert re.search(r"failures +0 +1 +1 +lab +When a job fails. Then nothing for", result.output)
    assert f"target lab: http://127.0.0.1:{receiver.port}/…, json, not signed" in result.output
    (rule,) = json.loads(invoke("list", "--json").output)["rules"]
    assert rule["messages"] == {"pending": 0, "delivered": 1, "dead": 1}
    assert "SECRET" not in result.output + invoke("list", "--json").output


def test_the_log_lists_the_outcome_of_each_message(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    failed(home, make, receiver)
    shown = invoke("log").output
    assert re.search(r"1 +(?:\S+ )?\S+ +dead +1 +410 +lab +.*channel_is_archived", shown)
    newest, dead = json.loads(invoke("log", "--json").output)
    assert (newest["state"], newest["status"], dead["state"]) == ("delivered", 200, "dead")
    assert json.loads(invoke("log", "--state", "dead", "--json").output) == [dead]
    assert "SECRET" not in shown + json.dumps([newest, dead])


def test_a_terminal_shows_why_a_message_was_not_taken_whole(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table cuts its last column there."""
    failed(home, make, receiver)
    for module in ("realm_telemetry.cli.terminal", "realm_exporter_webhook.command"):
        monkeypatch.setattr(f"{module}.width", lambda: 60)
    shown = invoke("log").output.splitlines()
    assert shown[-1] == "1: answered 410 (channel_is_archived)"
    assert all(len(line) <= 60 for line in shown[:-1])


def test_an_address_of_an_event_is_shown_by_its_host_only(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    import msgspec

    asked = msgspec.structs.replace(event(1), webhooks=(receiver.url("/SECRET"),))
    exporter = make({"allow_hosts": ["127.0.0.1"]})
    exporter.export_events([asked])
    shown = invoke("log").output + invoke("log", "--json").output
    assert f"request http://127.0.0.1:{receiver.port}/…" in shown
    assert "SECRET" not in shown


@pytest.mark.parametrize("name", ["lab", "failures"])
def test_a_test_message_goes_to_a_target_or_a_rules_targets(
    name: str, home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES)
    result = invoke("test", name)
    assert result.exit_code == 0, result.output
    assert "taken (200)" in result.output
    assert receiver.received[0].json["events"][0]["details"] == {"test": True}


def test_a_test_that_fails_shows_the_reason(home: Path, invoke: Invoke, receiver: Receiver) -> None:
    write_settings(home, receiver.url(), RULES)
    receiver.answers = [Answer(404, {}, b"no_service")]
    result = invoke("test", "lab", "--json")
    assert result.exit_code == 1
    (sent,) = json.loads(result.output)
    assert (sent["target"], sent["status"]) == ("lab", 404)
    assert "no_service" in sent["problem"]
    result = invoke("test", "lob")
    assert result.exit_code == 2
    assert (
        "There are failures, run_ended_badly, stalled, not_finite, host_lost, disk_low, lab."
        in result.output
    )


def test_a_dead_message_is_sent_again_with_its_id(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES)
    failed(home, make, receiver)
    result = invoke("redeliver", "--all")
    assert result.exit_code == 0, result.output
    ids = [each.headers["webhook-id"] for each in receiver.received]
    assert ids[2] == ids[0]
    assert receiver.received[2].body == receiver.received[0].body
    assert invoke("log", "--state", "dead", "--json").output.strip() == "[]"
    receiver.answers = [Answer(400)]
    assert invoke("redeliver", "2").exit_code == 1
    assert len(json.loads(invoke("log", "--state", "dead", "--json").output)) == 1


@pytest.mark.parametrize("arguments", [(), ("1", "--all"), ("99",)])
def test_redeliver_needs_numbers_or_all(
    arguments: tuple[str, ...], home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES)
    failed(home, make, receiver)
    assert invoke("redeliver", *arguments).exit_code == 2
    assert len(receiver.received) == 2


def documented(heading: str) -> set[str]:
    section = DOCUMENT.split(f"| key of `{heading}` |")[1].split("\n\n")[0]
    cells = [line.split(" | ")[0] for line in section.splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}


def test_every_setting_is_documented() -> None:
    assert documented("[[options.webhook.rules]]") == {*RULE_KEYS, *RULE_FILTERS}
    assert documented("[options.webhook.alerts]") == {"to", "off"}
    assert documented("[options.webhook.targets.NAME]") == set(TARGET_KEYS)
    assert documented("[options.webhook]") == set(WebhookExporter.defaults)
    assert all(f"`{name}`" in DOCUMENT for name in GROUP_FIELDS)


def test_the_documented_rules_are_read() -> None:
    text = re.search(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert text is not None
    config = read_config(tomllib.loads(text[1])["options"]["webhook"])
    assert [rule.name for rule in config.rules] == ["failures", "flaky-evals"]


def test_the_documented_check_verifies_a_message(receiver: Receiver, make: Maker) -> None:
    text = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert text is not None
    scope: dict[str, Any] = {}
    exec(text[1], scope)
    exporter = make(options(receiver.url(), secret="s3cret"))
    exporter.export_events([event(1)])
    (got,) = receiver.received
    assert scope["verified"]("s3cret", got.headers, got.body)
    assert not scope["verified"]("other", got.headers, got.body)
    assert not scope["verified"]("s3cret", got.headers, got.body + b" ")

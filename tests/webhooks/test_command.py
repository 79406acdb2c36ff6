"""`realm webhooks` and what the doctor says of rules."""

import json
import os
import re
import sqlite3
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest
from realm_exporter_webhook import WebhookExporter
from realm_exporter_webhook.backtest import LAST, PARTS, picture
from realm_exporter_webhook.rules import GROUP_FIELDS, RULE_FILTERS
from realm_exporter_webhook.settings import read_config

from realm_telemetry.cli.group import realm
from realm_telemetry.errors import ExportError
from realm_telemetry.log import LogWriter, ProducerInfo

from .conftest import Answer, Maker, Receiver, event, options

DOCUMENT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
S = 1_000_000_000
Invoke = Callable[..., click.testing.Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("REALM_", "OTEL_")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log")
    monkeypatch.setenv("REALM_SERVICE_URL", "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def invoke() -> Invoke:
    def run(*arguments: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(realm, ["webhooks", *arguments])

    return run


def write_settings(home: Path, url: str, rules: str = "", *, allow: bool = True) -> None:
    hosts = '["127.0.0.1"]' if allow else "[]"
    (home / "realm.toml").write_text(
        f"[options.webhook]\nallow_hosts = {hosts}\n"
        f'[options.webhook.targets.lab]\nurl = "{url}"\n{rules}'
    )


RULES = """
[[options.webhook.rules]]
name = "failures"
to = "lab"
kind = "job_failed"
cooldown = "1h"
"""


def failed(home: Path, make: Maker, receiver: Receiver) -> None:
    """Leave a dead message and a delivered one."""
    receiver.answers = [Answer(410, {}, b"channel_is_archived")]
    exporter = make(options(receiver.url("/SECRET"), {"name": "failures"}))
    exporter.export_events([event(1), event(2)])
    exporter.shutdown()
    assert len(receiver.received) == 2


def test_without_settings_it_says_where_they_go(home: Path, invoke: Invoke) -> None:
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
    assert re.search(r"failures +0 +1 +1 +lab +kind job_failed; then quiet 1h", result.output)
    assert f"target lab: http://127.0.0.1:{receiver.port}/…, json, not signed" in result.output
    (rule,) = json.loads(invoke("list", "--json").output)["rules"]
    assert rule["messages"] == {"pending": 0, "delivered": 1, "dead": 1}
    assert "SECRET" not in result.output + invoke("list", "--json").output


def test_the_log_says_what_came_of_each_message(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    failed(home, make, receiver)
    shown = invoke("log").output
    assert re.search(r"1 +\S+ \S+ +dead +1 +410 +lab +.*channel_is_archived", shown)
    newest, dead = json.loads(invoke("log", "--json").output)
    assert (newest["state"], newest["status"], dead["state"]) == ("delivered", 200, "dead")
    assert json.loads(invoke("log", "--state", "dead", "--json").output) == [dead]
    assert "SECRET" not in shown + json.dumps([newest, dead])


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


def test_a_test_that_fails_says_why(home: Path, invoke: Invoke, receiver: Receiver) -> None:
    write_settings(home, receiver.url(), RULES)
    receiver.answers = [Answer(404, {}, b"no_service")]
    result = invoke("test", "lab", "--json")
    assert result.exit_code == 1
    (said,) = json.loads(result.output)
    assert (said["target"], said["status"]) == ("lab", 404)
    assert "no_service" in said["problem"]
    result = invoke("test", "lob")
    assert result.exit_code == 2
    assert "There are failures, lab." in result.output


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
def test_what_to_send_again_has_to_be_said(
    arguments: tuple[str, ...], home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES)
    failed(home, make, receiver)
    assert invoke("redeliver", *arguments).exit_code == 2
    assert len(receiver.received) == 2


def fill(home: Path) -> None:
    """Ten failures of the last ten hours, 30 minutes after the full hour before, and an import."""
    now_ns = time.time_ns()
    clock = [now_ns]
    with LogWriter(home / "vault" / "jobs.db", clock_ns=lambda: clock[0]) as log:
        for number in range(1, 11):
            clock[0] = now_ns - (11 - number) * 3600 * S
            log.append([event(2 * number, now_ns=clock[0]), event(2 * number + 1, "note")])
            log.append([event(100 + number, now_ns=clock[0] + 60 * S)])
        log.append([event(200, age_s=3 * 3600)])
        log.register_producer(ProducerInfo("e1" * 8, "import"))
        log.append([event(1, producer="e1" * 8), event(2, producer="e1" * 8)])


def test_a_backtest_says_how_often_and_when_and_sends_nothing(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES.replace("1h", "30m"))
    fill(home)
    (found,) = json.loads(invoke("backtest", "--since", "1d", "--json").output)
    assert (found["events"], found["held_back"]) == (21, 10)
    live = [each for each in found["last"] if not each["late"]]
    assert [each["held_back"] for each in live] == [0] + [1] * 9
    assert [each["events"] for each in found["last"] if each["late"]] == [1]
    assert (found["messages"], found["digests"], found["targets"]) == (11, 1, 1)
    assert sum(part["messages"] for part in found["when"]) == 11
    result = invoke("backtest", "--since", "1d", "--rule", "failures")
    assert re.search(r"failures +21 +11 +10 +1 +·+[▁-█·]+", result.output), result.output
    assert ", late" in result.output
    assert receiver.received == []
    assert not (home / "data" / "webhooks.db").exists()


def test_a_backtest_fires_as_the_rule_would_have_live(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    rule = {"name": "failures", "threshold": 2, "window": "5m", "cooldown": "2h"}
    lines = "\n".join(
        ["", "[[options.webhook.rules]]", 'to = "lab"']
        + [f"{k} = {json.dumps(v)}" for k, v in rule.items()]
    )
    write_settings(home, receiver.url(), lines)
    fill(home)
    (found,) = json.loads(invoke("backtest", "--since", "1d", "--json").output)
    exporter = make(options(receiver.url(), rule), clock=Replayed())
    from realm_telemetry.log import LogReader

    with LogReader(home / "vault" / "jobs.db") as reader:
        for row in reader.after(0):
            if row.event.producer != "e1" * 8:
                Replayed.now_ns = row.event.observed_unix_nano or 0
                exporter.export_events([row.event])
    exporter.shutdown()
    fired = [each.json for each in receiver.received]
    assert [each["count"] for each in fired] == [each["events"] for each in found["last"]]
    assert [each["late"] for each in fired] == [each["late"] for each in found["last"]]
    assert 2 <= len(fired) <= 7


class Replayed:
    """A clock that shows when each event arrived."""

    now_ns = 0

    def time_ns(self) -> int:
        return self.now_ns

    def time(self) -> float:
        return self.now_ns / 1e9


def test_a_picture_has_a_bar_for_each_part_of_the_time() -> None:
    assert picture([3, 1, 0, 0, 0, 1, 1, 0], 4) == "█·▂▂"
    assert picture([0] * 8, 4) == "····"


def test_a_backtest_counts_every_message_and_tells_the_last_ones(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    """At the number that is told one by one, and one above it."""
    write_settings(home, receiver.url(), '\n[[options.webhook.rules]]\nname = "all"\nto = "lab"\n')
    with LogWriter(home / "vault" / "jobs.db") as log:
        log.register_producer(ProducerInfo("d0" * 8))
        log.append([event(number) for number in range(1, LAST + 1)])
        (found,) = json.loads(invoke("backtest", "--since", "1h", "--json").output)
        assert (found["messages"], len(found["last"])) == (LAST, LAST)
        log.append([event(LAST + 1)])
    (found,) = json.loads(invoke("backtest", "--since", "1h", "--json").output)
    assert (found["messages"], len(found["last"])) == (LAST + 1, LAST)
    assert len(found["when"]) <= PARTS
    assert sum(part["messages"] for part in found["when"]) == LAST + 1


def test_a_backtest_passes_over_what_was_replayed_into_this_log(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES)
    with LogWriter(home / "vault" / "jobs.db") as log:
        log.register_producer(ProducerInfo("d0" * 8))
        log.append([event(1)])
        log.append([event(2)], keep_arrival=True)
    (found,) = json.loads(invoke("backtest", "--since", "1h", "--json").output)
    assert found["events"] == 1


def examine(invoke_doctor: bool = True) -> dict[str, Any]:
    result = click.testing.CliRunner().invoke(realm, ["doctor", "--json", "--no-round-trip"])
    findings = json.loads(result.output)["findings"]
    return {
        "code": result.exit_code,
        "said": [each for each in findings if each["check"] == "webhook"],
    }


def test_the_doctor_names_a_wrong_rule(home: Path) -> None:
    write_settings(home, "https://example.org/SECRET", RULES.replace("kind", "knd"))
    found = examine()
    assert found["code"] == 1
    (finding,) = found["said"]
    assert "options.webhook.rules: failures.knd" in finding["message"]
    assert "'kind'" in finding["fix"]


def test_the_doctor_looks_at_targets_and_dead_messages(
    home: Path, make: Maker, receiver: Receiver
) -> None:
    write_settings(home, receiver.url("/SECRET"), RULES, allow=False)
    failed(home, make, receiver)
    with (home / "realm.toml").open("a") as file:
        file.write('[options.webhook.targets.plain]\nurl = "http://192.0.2.1/SECRET"\n')
    text = (home / "realm.toml").read_text().replace("[]", '["192.0.2.1"]')
    (home / "realm.toml").write_text(text)
    found = examine()
    text = json.dumps(found, ensure_ascii=False)
    assert found["code"] == 1
    assert "1 rule: failures" in text
    assert "allow_hosts" in text
    assert "target plain (http://192.0.2.1/…) is sent to without TLS" in text
    assert "no rule sends to the target plain" in text
    assert "not taken: 1 message" in text
    assert "SECRET" not in text


def test_the_doctor_is_silent_where_there_are_no_rules(home: Path) -> None:
    assert examine() == {"code": 0, "said": []}


def test_a_damaged_store_is_told(home: Path, invoke: Invoke) -> None:
    (home / "data").mkdir()
    (home / "data" / "webhooks.db").write_bytes(b"no database" * 100)
    result = invoke("log")
    assert result.exit_code == 1
    assert "webhooks.db" in result.output


def test_a_store_of_a_newer_version_is_left_alone(home: Path, make: Maker) -> None:
    (home / "data").mkdir()
    with sqlite3.connect(home / "data" / "webhooks.db") as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(ExportError, match="newer version"):
        make({}).export_events([event(1)])


def documented(heading: str) -> set[str]:
    section = DOCUMENT.split(f"| key of `{heading}` |")[1].split("\n\n")[0]
    cells = [line.split(" | ")[0] for line in section.splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}


def test_every_setting_is_documented() -> None:
    rule = {"name", "to", "threshold", "window", "cooldown", "group_by", "collect", *RULE_FILTERS}
    assert documented("[[options.webhook.rules]]") == rule
    assert documented("[options.webhook.targets.NAME]") == {"url", "template", "secret"}
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

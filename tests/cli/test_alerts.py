"""`realm alerts`: a first target, what there is, and quiet for a while."""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest
from realm_exporter_webhook.settings_text import with_target

from realm_telemetry.errors import ConfigError
from tests.exporters.webhook.conftest import Answer, Receiver, event

from .conftest import serve

Invoke = Callable[..., click.testing.Result]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


FILE = """# of the lab\r
service_name = "x"   # a comment\r
[options.webhook]\r
digest = "5s"\r
[options.webhook.targets.old]\r
url = "https://example.org/SECRET"\r
"""


def test_init_adds_a_target_sends_a_test_and_keeps_the_file(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    """Comments, ends of lines, mode: all but the new table is as it was."""
    path = home / "realm.toml"
    path.write_bytes(FILE.encode())
    path.chmod(0o640)
    result = invoke("alerts", "init", "--ntfy", receiver.url("/phone-7"), "--private")
    assert result.exit_code == 0, result.output
    assert "added the target ntfy to" in result.output
    assert "run_ended_badly, stalled, not_finite, host_lost, disk_low" in result.output
    assert "taken (200)" in result.output
    assert receiver.received[0].json["topic"] == "phone-7"
    text = path.read_bytes().decode()
    assert text.startswith(FILE)
    assert text.count("\n") == text.count("\r\n")
    assert path.stat().st_mode & 0o777 == 0o640
    targets = tomllib.loads(text)["options"]["webhook"]["targets"]
    assert targets["ntfy"] == {
        "url": receiver.url("/phone-7"),
        "template": "ntfy",
        "private": True,
    }
    assert list(home.iterdir()) == [path]


def test_init_makes_a_file_for_its_owner_alone(home: Path, invoke: Invoke) -> None:
    result = invoke("alerts", "init", "--ntfy", "lab-7", "--name", "phone", "--no-test")
    assert result.exit_code == 0, result.output
    path = home / "realm.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    (target,) = tomllib.loads(path.read_text())["options"]["webhook"]["targets"].values()
    assert target == {"url": "https://ntfy.sh/lab-7", "template": "ntfy"}


def test_init_asks_a_person_where_no_option_says_it(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    given = f"webhook\n{receiver.url()}\n"
    refused = invoke("alerts", "init", input=given + "n\n")
    assert refused.exit_code == 2
    assert "--private" in refused.output
    assert not (home / "realm.toml").exists()
    result = invoke("alerts", "init", input=given + "y\n")
    assert result.exit_code == 0, result.output
    assert receiver.received[0].json["events"][0]["details"] == {"test": True}


def test_init_without_an_answer_names_the_options(invoke: Invoke, home: Path) -> None:
    result = invoke("alerts", "init", input="")
    assert result.exit_code == 2
    assert "--ntfy, --slack, --discord, --webhook" in result.output
    assert not (home / "realm.toml").exists()


def test_an_address_that_is_there_is_tested_and_not_added_again(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    for _ in range(2):
        result = invoke("alerts", "init", "--webhook", receiver.url(), "--private")
        assert result.exit_code == 0, result.output
    assert "nothing was added" in result.output
    assert len(receiver.received) == 2
    again = invoke("alerts", "init", "--webhook", receiver.url("/other"), "--private")
    assert again.exit_code == 2
    assert "--name" in again.output


def test_a_target_that_answers_wrongly_stays_and_is_named(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    receiver.answers = [Answer(404, {}, b"no_such_hook")]
    result = invoke("alerts", "init", "--slack", receiver.url(), "--private")
    assert result.exit_code == 1
    assert "test to slack" in result.output
    assert "no_such_hook" in result.output
    assert "slack" in (home / "realm.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--ntfy", "https://ntfy.sh/"), "needs a topic"),
        (("--slack", "hooks.slack.com/x"), "--slack"),
        (("--ntfy", "a b"), "--ntfy: a topic is 1 to 64 letters"),
        (("--ntfy", "a" * 65), "--ntfy: a topic is 1 to 64 letters"),
        (("--ntfy", "a", "--slack", "https://x.example"), "one of"),
        (("--webhook", "http://127.0.0.1:9/"), "--private"),
        (("--ntfy", "a", "--name", "a b"), "letters"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    arguments: tuple[str, ...], problem: str, home: Path, invoke: Invoke
) -> None:
    result = invoke("alerts", "init", "--no-test", *arguments)
    assert result.exit_code == 2
    assert problem in result.output
    assert not (home / "realm.toml").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "\ufeffservice_name = 'x'\n",
        "[options.webhook]\ntargets.old.url = 'https://example.org'\n",
        "[options]\njsonl.path = 'x'\n",
        "[[options.webhook.rules]]\nname = 'a'\nto = 'p'\n",
        '[service]\nhost = "127.0.0.1"\n\n\n',
    ],
)
def test_a_table_can_follow_nearly_every_file(text: str, tmp_path: Path) -> None:
    added = with_target(tmp_path, text, "p.1", {"url": 'https://x.example/"\\', "private": True})
    assert added.startswith(text)
    found = tomllib.loads(added.removeprefix("\ufeff"))["options"]["webhook"]["targets"]
    assert found["p.1"] == {"url": 'https://x.example/"\\', "private": True}


@pytest.mark.parametrize(
    "text",
    [
        "options = { webhook = { digest = '5s' } }\n",
        "[options.webhook]\ntargets = { old = { url = 'https://example.org' } }\n",
        "options.webhook.targets.p.url = 'https://example.org'\n",
    ],
)
def test_where_no_table_can_follow_the_lines_to_add_are_shown(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        with_target(tmp_path, text, "p", {"url": "https://x.example"})
    assert 'targets.p = { url = "https://x.example" }' in caught.value.fix


def test_the_list_has_rules_targets_and_mutes_without_secrets(home: Path, invoke: Invoke) -> None:
    assert "realm alerts init" in invoke("alerts").output
    rule = '[[options.webhook.rules]]\nname = "own"\nto = "old"\nwhere = "loss > 5"\n'
    (home / "realm.toml").write_text(FILE + rule)
    assert invoke("alerts", "mute", "stalled", "--for", "2h").exit_code == 0
    shown = invoke("alerts").output
    assert "own" in shown
    assert "loss is over 5" in shown
    assert "built in" in shown
    assert "until" in shown
    assert "target old: https://example.org/…, json" in shown
    found = json.loads(invoke("alerts", "list", "--json").output)
    assert "SECRET" not in shown + json.dumps(found)
    muted = {rule["name"]: rule["muted_until"] for rule in found["rules"]}
    assert [name for name, until in muted.items() if until] == ["stalled"]
    assert invoke("alerts", "unmute", "stalled").exit_code == 0
    assert not any(
        rule["muted_until"]
        for rule in json.loads(invoke("alerts", "list", "--json").output)["rules"]
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("stall",), "no rule"),
        (("stalled", "--for", "soon"), "--for"),
        ((), "Give a rule, or --run"),
        (("stalled", "--run", "r7"), "Give a rule, or --run"),
        (("--run", ""), "1 to 256 characters"),
        (("--run", "r" * 257), "1 to 256 characters"),
    ],
)
def test_a_mute_of_what_there_is_not_is_refused(
    arguments: tuple[str, ...], problem: str, invoke: Invoke
) -> None:
    result = invoke("alerts", "mute", *arguments)
    assert result.exit_code == 2
    assert problem in result.output


def test_a_mute_holds_at_once_for_an_exporter_that_runs(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    def disk_low(number: int) -> Any:
        return event(number, "disk_low", run_id=f"r{number}", details={"path": "/"})

    exporter = exporter_to(home, receiver.url())
    exporter.export_events([disk_low(1)])
    assert invoke("alerts", "mute", "disk_low", "--for", "1h").exit_code == 0
    exporter.export_events([disk_low(2)])
    assert invoke("alerts", "unmute", "disk_low").exit_code == 0
    exporter.export_events([disk_low(3)])
    exporter.shutdown()
    assert [each.json["run"]["run_id"] for each in receiver.received] == ["r1", "r3"]


def test_a_muted_run_is_silent_in_every_rule_and_others_are_not(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    exporter = exporter_to(home, receiver.url())
    assert invoke("alerts", "mute", "--run", "r1", "--for", "1h").exit_code == 0
    assert "run r1: muted until" in invoke_with_target(home, invoke, receiver).output
    kinds = ("disk_low", "loss_not_finite")
    details = {"path": "/", "field": "loss", "value": "NaN", "step": 3}
    exporter.export_events(
        [
            event(10 * number + place, kind, run_id=f"r{number}", details=details)
            for number in (1, 2)
            for place, kind in enumerate(kinds)
        ]
    )
    assert invoke("alerts", "unmute", "--run", "r1").exit_code == 0
    exporter.export_events([event(30, "host_lost", run_id="r1", details={"host": "gpu7"})])
    exporter.shutdown()
    told = [(each.json["rule"], each.json["run"]["run_id"]) for each in receiver.received]
    assert told == [("disk_low", "r2"), ("not_finite", "r2"), ("host_lost", "r1")]


def test_the_list_says_of_each_target_what_waits_and_what_failed(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    receiver.answers = [Answer(200, {}, b""), Answer(410, {}, b"no such hook")]
    exporter = exporter_to(home, receiver.url())
    for number in (1, 2):
        exporter.export_events([event(number, "disk_low", run_id=f"r{number}", details={})])
    exporter.shutdown()
    text = invoke_with_target(home, invoke, receiver).output
    assert "last taken: " in text
    assert "1 message not taken: answered 410 (no such hook)" in text
    assert "realm webhooks redeliver --all" in text
    assert "waiting" not in text


def test_init_says_what_is_needed_for_alerts_to_come(
    home: Path, invoke: Invoke, start: Callable[..., Any]
) -> None:
    given = ("alerts", "init", "--ntfy", "lab-7", "--no-test")
    assert "only that sends alerts: realm up" in invoke(*given).output
    serve(start)
    assert "realm down" not in invoke(*given).output, "the target is there already"
    other = invoke("alerts", "init", "--ntfy", "lab-8", "--name", "b", "--no-test").output
    assert "does not know the target yet: realm down && realm up" in other


def test_a_command_of_a_group_that_there_is_not_names_those_that_there_are(invoke: Invoke) -> None:
    result = invoke("alerts", "status")
    assert result.exit_code == 2
    assert "There are list, mute, unmute, init." in result.stderr
    assert "Did you mean mute?" in invoke("alerts", "muted").stderr


def exporter_to(home: Path, url: str) -> Any:
    from realm_exporter_webhook import WebhookExporter

    from realm_telemetry.plugins import ExporterContext

    options = {"targets": {"lab": {"url": url, "private": True}}}
    place = home / "vault" / "jobs.db"
    return WebhookExporter(context=ExporterContext(home=home, log_path=place, options=options))


def invoke_with_target(home: Path, invoke: Invoke, receiver: Receiver) -> click.testing.Result:
    """The list of a home that has the target of `exporter_to`."""
    table = f'[options.webhook.targets.lab]\nurl = "{receiver.url()}"\nprivate = true\n'
    (home / "realm.toml").write_text(table)
    return invoke("alerts")


def test_options_that_nothing_reads_are_named(home: Path, invoke: Invoke) -> None:
    (home / "realm.toml").write_text("[options.webhok.targets.p]\nurl = 'https://x.example'\n")
    assert "[options.webhok], which nothing reads" in invoke("alerts").stderr
    found = json.loads(invoke("doctor", "--no-round-trip", "--json").output)["checks"]
    (named,) = [each for each in found if each["check"] == "options"]
    assert named["level"] == "warning"
    assert "Did you mean options.webhook?" in named["fix"]

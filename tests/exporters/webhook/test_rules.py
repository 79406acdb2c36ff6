"""Mistakes in the rules name the setting and the fix, and never show a secret."""

from typing import Any

import pytest
from realm_exporter_webhook.rules import guess_template
from realm_exporter_webhook.settings import read_config, seconds

from realm_telemetry.errors import ConfigError

SECRET = "https://example.org/services/T0SECRET"
TARGETS = {"lab": {"url": SECRET}}


@pytest.mark.parametrize(
    ("options", "setting", "fix"),
    [
        ({"rules": {"name": "a"}}, "rules", "[[options.webhook.rules]]"),
        ({"rules": [{}]}, "number 1: name", "docs/webhooks.md"),
        ({"rules": [{"name": "a"}]}, "rules: a.to", "at least one"),
        ({"rules": [{"name": "a", "to": "lap"}]}, "rules: a.to", "'lab'"),
        ({"rules": [{"name": "a", "to": "lab", "sevrity": "error"}]}, "a.sevrity", "'severity'"),
        ({"rules": [{"name": "a", "to": "lab", "severity": "eror"}]}, "a.severity", "error"),
        ({"rules": [{"name": "a", "to": "lab", "has": "x"}]}, "a.has", "path:value"),
        ({"rules": [{"name": "a", "to": "lab", "threshold": 0}]}, "a.threshold", "1 to 1000"),
        ({"rules": [{"name": "a", "to": "lab", "cooldown": "soon"}]}, "a.cooldown", "10m"),
        ({"rules": [{"name": "a", "to": "lab", "window": 0}]}, "a.window", "10m"),
        ({"rules": [{"name": "a", "to": "lab", "group_by": "heros"}]}, "a.group_by", "'hero'"),
        ({"rules": [{"name": "a", "to": "lab"}] * 2}, "rules: a", "Rename"),
        ({"rules": [{"name": "request", "to": "lab"}]}, "rules: request", "Rename"),
        ({"rules": [{"name": "a b", "to": "lab"}]}, "rules: a b", "letters"),
        ({"targets": {"lab": {"url": "ftp://example.org/SECRET"}}}, "lab.url", "https://"),
        ({"targets": {"lab": {"url": SECRET, "template": "teams"}}}, "lab.template", "discord"),
        ({"targets": {"lab": {"url": SECRET, "secrt": "x"}}}, "lab.secrt", "'secret'"),
        ({"targets": {"lab": {"url": SECRET, "template": "ntfy"}}}, "lab.url", "TOPIC"),
        ({"targets": {"lab": "SECRET"}}, "targets.lab", "docs/webhooks.md"),
    ],
)
def test_a_mistake_names_the_setting_and_the_fix(
    options: dict[str, Any], setting: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config({"targets": TARGETS} | options)
    assert caught.value.setting.startswith("options.webhook.")
    assert setting in caught.value.setting
    assert fix in caught.value.fix
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("30s", 30), ("1.5 h", 5400), (2, 2), ("7d", 604_800)]
)
def test_durations_are_seconds_or_text(text: Any, expected: float) -> None:
    assert seconds("here", text) == expected


@pytest.mark.parametrize("value", [-1, True, None, "10 parsecs", "", "1e9"])
def test_anything_else_is_no_duration(value: Any) -> None:
    with pytest.raises(ConfigError, match="no duration"):
        seconds("here", value)


@pytest.mark.parametrize(
    ("url", "template"),
    [
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://ptb.discordapp.com/api/webhooks/1/x", "discord"),
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://discord.com.example.org/x", "json"),
        ("https://ntfy.lan/lab", "json"),
        ("https://ntfy.sh/lab", "ntfy"),
        ("https://ntfy.sh/", "json"),
        ("http://[broken", "json"),
    ],
)
def test_the_template_is_guessed_from_the_host(url: str, template: str) -> None:
    assert guess_template(url) == template

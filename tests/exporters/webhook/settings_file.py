"""A realm.toml with webhooks, and `realm webhooks` run over it."""

from pathlib import Path

from .conftest import Answer, Maker, Receiver, event, options


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

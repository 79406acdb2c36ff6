"""What a command works with: the rules of the home, and the messages that were sent there."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from realm_exporter_webhook.exporter import WebhookExporter
from realm_exporter_webhook.rules import Rule
from realm_exporter_webhook.store import Store
from realm_telemetry.cli.command import settings
from realm_telemetry.plugins import ExporterContext


def exporter_of_home() -> WebhookExporter:
    """The exporter as realm.toml sets it up. Raises ConfigError."""
    chosen = settings()
    context = ExporterContext(
        home=chosen.home,
        log_path=chosen.log_path,
        service_url=chosen.service_url,
        options=chosen.options.get("webhook", {}),
    )
    return WebhookExporter(context=context)


@contextmanager
def stored(exporter: WebhookExporter) -> Iterator[Store | None]:
    """What the home has sent; None before there was anything. Raises LogError."""
    if not exporter.has_store():
        yield None
        return
    store = exporter.open_store()
    try:
        yield store
    finally:
        store.close()


def rule_named(exporter: WebhookExporter, name: str) -> Rule:
    """A rule by its name. Raises click.UsageError."""
    for rule in exporter.config.rules:
        if rule.name == name:
            return rule
    known = [rule.name for rule in exporter.config.rules] + list(exporter.config.targets)
    listing = f"There are {', '.join(known)}." if known else "realm.toml has none."
    raise click.UsageError(f"There is no rule or target {name!r}. {listing}")

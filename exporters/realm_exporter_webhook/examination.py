"""What is to be said of rules and targets before anything is sent."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from realm_exporter_webhook.addresses import RefusedAddressError, UnresolvedError, is_this_host
from realm_telemetry.cli.terminal import counted
from realm_telemetry.errors import LogError

if TYPE_CHECKING:
    from realm_exporter_webhook import WebhookExporter

Said = tuple[str, str, str]


def examine(exporter: "WebhookExporter") -> Iterator[Said]:
    """Level, message and fix for each thing that is worth saying; sends nothing."""
    config = exporter.config
    if config.rules:
        names = ", ".join(rule.name for rule in config.rules)
        yield "ok", f"{counted(len(config.rules), 'rule')}: {names}", ""
    used = {name for rule in config.rules for name in rule.to}
    for name, target in config.targets.items():
        if name not in used:
            yield "warning", f"no rule sends to the target {name}", "Name it in `to`, or remove it."
        try:
            addresses = exporter.guard.check(target.url).addresses
        except RefusedAddressError as error:
            yield "problem", f"target {name}: {error}", ""
            continue
        except UnresolvedError as error:
            yield "warning", f"target {name}: {error}", "Mend its url, or this host's DNS."
            continue
        if target.place.startswith("http://") and not all(map(is_this_host, addresses)):
            what = f"target {name} ({target.place}) is sent to without TLS"
            yield "warning", what, "Write https://, if the receiver can."
    yield from _messages(exporter)


def _messages(exporter: "WebhookExporter") -> Iterator[Said]:
    if not exporter.has_store():
        return
    try:
        store = exporter.open_store()
    except LogError as error:
        yield "problem", str(error), "Move it away; a new one is made."
        return
    try:
        counts = store.outbox.counts()
    finally:
        store.close()
    dead = sum(count for (_, state), count in counts.items() if state == "dead")
    waiting = sum(count for (_, state), count in counts.items() if state == "pending")
    if dead:
        fix = "realm webhooks log --state dead; then realm webhooks redeliver --all"
        yield "warning", f"not taken: {counted(dead, 'message')}", fix
    if waiting:
        yield "warning", f"waiting to be sent: {counted(waiting, 'message')}", "realm webhooks log"

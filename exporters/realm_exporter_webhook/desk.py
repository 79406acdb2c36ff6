"""What the service shows of alerts and does about them, for its API and its page."""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from realm_exporter_webhook.backtest import backtest
from realm_exporter_webhook.command import (
    circuit_shape,
    history_shape,
    outcome_shape,
    rule_shape,
    send_test,
    shown,
    target_shape,
)
from realm_exporter_webhook.exporter import WebhookExporter
from realm_exporter_webhook.rules import BUILT_IN, Rule
from realm_exporter_webhook.store import Store, of_run
from realm_telemetry.event import format_time
from realm_telemetry.log.engine import open_log
from realm_telemetry.plugins import ExporterContext

SHOWN_MESSAGES: Final = 100
LOOKED_AT: Final = 2_000
"""Messages among which the last one of each rule is looked for."""

SHOWN_MOMENTS: Final = 5
_S: Final = 1_000_000_000


class Desk:
    """Rules, targets and messages of a home.

    Methods raise LogError, and KeyError for a name or number that is not there.
    """

    def __init__(self, context: ExporterContext) -> None:
        """Raises ConfigError."""
        self._exporter = WebhookExporter(context=context)

    def overview(self) -> dict[str, Any]:
        """Rules with what they sent, targets without what is secret, and the last messages."""
        if not self._exporter.has_store():
            return self._shape(None)
        with closing(self._exporter.open_store()) as store:
            return self._shape(store)

    def _shape(self, store: Store | None) -> dict[str, Any]:
        config = self._exporter.config
        messages = store.outbox.messages(LOOKED_AT) if store else []
        counts = store.outbox.counts() if store else {}
        now_ns = time.time_ns()
        muted = store.muted(now_ns) if store else {}
        muted_runs = store.muted_runs(now_ns) if store else {}
        last = {each.rule: each.created_unix_nano for each in reversed(messages)}
        return {
            "rules": [
                rule_shape(rule, counts)
                | {
                    "built_in": rule in config.built_in,
                    "muted_until": _time(muted.get(rule.name)),
                    "fired_at": _time(last.get(rule.name)),
                }
                for rule in config.every_rule
            ],
            "targets": [target_shape(target) for target in config.targets.values()],
            "muted_runs": [
                {"run_id": run_id, "muted_until": _time(until)}
                for run_id, until in sorted(muted_runs.items())
            ],
            "messages": [shown(each) for each in messages[:SHOWN_MESSAGES]],
            "circuits": [circuit_shape(one) for one in (store.outbox.circuits() if store else [])],
        }

    def history(self, since_ns: int, deadline_s: float) -> list[dict[str, Any]]:
        """How often each rule would have fired since a time, and when last.

        deadline_s: by time.monotonic. Raises TimeoutError.
        """

        def progress(events: int, share: float | None) -> None:
            if time.monotonic() > deadline_s:
                raise TimeoutError

        now_ns = time.time_ns()
        found = []
        with open_log(self._exporter.context.log_place).reader() as reader:
            for rule in self._exporter.config.every_rule:
                run = backtest(self._exporter, reader, rule, since_ns, now_ns, progress)
                shape = history_shape(run, since_ns)
                found.append(shape | {"last": shape["last"][-SHOWN_MOMENTS:]})
        return found

    def mute(self, rule: str, for_s: float) -> None:
        """Let a rule send nothing for some time; 0 lets it send again."""
        if rule not in BUILT_IN:
            self._rule(rule)
        self._mute(rule, for_s)

    def mute_run(self, run_id: str, for_s: float) -> None:
        """Let no rule send anything about a run for some time; 0 ends that."""
        self._mute(of_run(run_id), for_s)

    def _mute(self, name: str, for_s: float) -> None:
        until_ns = time.time_ns() + int(for_s * _S) if for_s else 0
        with closing(self._exporter.open_store()) as store:
            store.outbox.mute(name, until_ns)

    def test(self, target: str) -> dict[str, Any]:
        """Send a test message to a target."""
        return outcome_shape(
            send_test(self._exporter, self._exporter.config.targets[target], target)
        )

    def redeliver(self, number: int) -> dict[str, Any]:
        """Send a message again now."""
        if not self._exporter.has_store():
            raise KeyError(number)
        with closing(self._exporter.open_store()) as store:
            found = self._exporter.sender(store).send_again(number)
        if found is None:
            raise KeyError(number)
        return outcome_shape(found[1])

    def _rule(self, name: str) -> Rule:
        rules: Sequence[Rule] = self._exporter.config.every_rule
        return {rule.name: rule for rule in rules}[name]


def _time(unix_nano: int | None) -> str | None:
    return None if unix_nano is None else format_time(unix_nano)

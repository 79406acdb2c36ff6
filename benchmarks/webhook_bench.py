"""How many events webhook rules take, and how long a backtest of a large log takes.

Run: python -m benchmarks.webhook_bench --rows 1000000
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from realm_exporter_webhook import WebhookExporter

from benchmarks.history_bench import measure
from benchmarks.log_bench import fill, make_events
from benchmarks.measure import Figure, at_least, at_most, show
from realm_telemetry.event import Event
from realm_telemetry.plugins import ExporterContext

BATCH = 500
TARGETS = {"lab": {"url": "http://127.0.0.1:9/nobody"}}
MEMORY_TARGET_MIB = 100.0

RULES: Mapping[str, dict[str, Any]] = {
    "one kind, cooldown": {"kind": "job_failed", "cooldown": "1h"},
    "every event, each a message": {},
    "every event, 1000 within an hour": {"threshold": 1000, "window": "1h", "cooldown": "1h"},
    "every event, a group each": {"group_by": ["details.step"], "threshold": 2},
    "a group each, gathered": {"group_by": ["details.step"], "collect": "10m"},
    "a detail, by hero": {"has": "tokens:123.5", "group_by": ["hero"], "cooldown": "10m"},
}


def rules_per_second(rules: list[dict[str, Any]], events: list[Event]) -> float:
    """Events a second through `deliver` as a service calls it, with what it keeps synced."""
    given = {"targets": TARGETS, "rules": rules, "allow_hosts": ["127.0.0.1"]}
    with tempfile.TemporaryDirectory() as home:
        context = ExporterContext(
            home=Path(home),
            log_path=Path(home) / "vault" / "jobs.db",
            options=given,
            long_lived=True,
        )
        exporter = WebhookExporter(context=context)
        exporter.export_events([])
        started = time.perf_counter()
        for start in range(0, len(events), BATCH):
            exporter.export_events(events[start : start + BATCH])
        taken = time.perf_counter() - started
        exporter.shutdown()
    return len(events) / taken


def throughput(count: int = 20_000) -> list[Figure]:
    """Rules that want nothing, what is rare, and everything."""
    now = time.time_ns()
    events = [
        Event(
            each.kind, each.channel, each.severity, each.message, each.details,
            now, each.producer, each.number, hero_id=each.hero_id, observed_unix_nano=now,
        )
        for each in make_events(count)
    ]  # fmt: skip
    ten = [{"name": f"r{n}", "to": "lab", "kind": "gradient_exploded"} for n in range(10)]
    rare = [{"name": "r", "to": "lab", "kind": "job_failed", "cooldown": "1h"}]
    busy = [{"name": "r", "to": "lab", "threshold": 1000, "cooldown": "1h"}]
    cases = {"ten rules that want nothing": ten, "one of 20 wanted": rare, "all wanted": busy}
    return [
        at_least(f"webhook rules, {name}", rules_per_second(rules, events), 10_000, "events/s")
        for name, rules in cases.items()
    ]


def backtests(rows: int) -> list[Figure]:
    """Each rule over all rows, in a process of its own: seconds, and the most memory."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        fill(home / "vault" / "jobs.db", rows)
        _make_live(home / "vault" / "jobs.db")
        for name, rule in RULES.items():
            _write_settings(home / "realm.toml", {"name": "r", "to": "lab"} | rule)
            seconds, _, mib = measure(home, "webhooks", "backtest", "--since", "40d", "--json")
            found.append(at_most(f"backtest of {rows:,}: {name}", seconds, 60.0, "s"))
            found.append(at_most("... memory", mib, MEMORY_TARGET_MIB, "MiB"))
    return found


def _make_live(path: Path) -> None:
    """Let every event have arrived when it happened: late ones would be digests only."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE battle_log SET observed_unix_nano = time_unix_nano + 5000000")


def _write_settings(path: Path, rule: Mapping[str, Any]) -> None:
    # What these rules hold is written the same way in JSON and in TOML.
    lines = [f"{name} = {json.dumps(value)}" for name, value in rule.items()]
    path.write_text(
        "\n".join(
            (
                "[options.webhook.targets.lab]",
                f"url = {json.dumps(TARGETS['lab']['url'])}",
                "[[options.webhook.rules]]",
                *lines,
            )
        )
    )


def figures(rows: int = 1_000_000) -> list[Figure]:
    """Rules as events arrive, and backtests."""
    return throughput() + backtests(rows)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    show("webhooks", figures(parser.parse_args().rows))


if __name__ == "__main__":
    main()

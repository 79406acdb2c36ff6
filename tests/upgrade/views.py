"""All that a home says of itself, by HTTP, by the command line and in its files."""

import json
import lzma
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.waiting import wait_until

from .internals import COVERAGE, METRIC_CURSORS
from .processes import Service, rows
from .trees import Tree

HOMES: Final = Path(__file__).parent / "homes"

VARIANTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "normal": ("normal", ()),
    "normal without search and metrics": (
        "normal",
        ("vault/search.db", "data/realm_measures.db"),
    ),
    "normal without snapshot and addresses": (
        "normal",
        ("data/realm_state.db", "data/webhook_addresses.db", "data/webhooks.db"),
    ),
    "trimmed": ("trimmed", ()),
    "trimmed without search and metrics": (
        "trimmed",
        ("vault/search.db", "data/realm_measures.db"),
    ),
    "trimmed without snapshot": ("trimmed", ("data/realm_state.db",)),
    "older": ("older", ()),
}
"""By name: the stored home, and the files that are taken out of it."""

_EXPECTED: Final = HOMES / "expected.json.xz"
_MADE_NS: Final = 1_767_225_600_000_000_000
"""2026-01-01: the homes were made with a clock set before it."""

_SINCE: Final = "2020-01-01"
_LOG: Final = "vault/jobs.db"
_QUERIES: Final = {
    "cursors": (_LOG, "SELECT pipeline, exporter, cursor FROM realm_cursors ORDER BY 1, 2"),
    "dead letters": (
        _LOG,
        "SELECT exporter, cursor, lower(hex(event_id)) FROM realm_dead_letters ORDER BY 1, 2",
    ),
    "meta": (
        _LOG,
        "SELECT key, value FROM realm_meta WHERE key NOT IN ('upkeep', 'schema_revision', 'runs')"
        " ORDER BY key",
    ),
    "counts": (_LOG, "SELECT * FROM realm_totals ORDER BY 1, 2, 3"),
    "hourly": (_LOG, "SELECT * FROM realm_hourly_counts ORDER BY 1, 2, 3, 4"),
    "runs": (_LOG, "SELECT * FROM realm_run_counts ORDER BY 1, 2, 3, 4, 5"),
    "producers": (
        _LOG,
        "SELECT producer, resource_json, history, done, stored, emitted, dropped, ended, last_kind,"
        " last_step FROM realm_producers ORDER BY producer",
    ),
    "webhook requests": (_LOG, "SELECT * FROM webhook_requests ORDER BY cursor"),
    "foreign table": (_LOG, "SELECT * FROM jobs ORDER BY id"),
    "addresses": ("data/webhook_addresses.db", "SELECT name, url FROM addresses ORDER BY url"),
    "messages": (
        "data/webhooks.db",
        "SELECT message_id, rule, target, events, state FROM messages ORDER BY id",
    ),
    "seen": ("data/webhooks.db", "SELECT scope, event_id FROM seen ORDER BY id"),
}


def unpack(variant: str, directory: Path) -> Path:
    """Unpack a stored home, without the files that a variant lacks."""
    name, removed = VARIANTS[variant]
    with tarfile.open(HOMES / f"{name}.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    home = directory / name
    for path in removed:
        (home / path).unlink()
    return home


def expected(variant: str) -> dict[str, Any]:
    """What the old code showed of a home."""
    with lzma.open(_EXPECTED) as file:
        stored: dict[str, dict[str, Any]] = json.load(file)
    return stored[variant]


def store_expected(stored: dict[str, dict[str, Any]]) -> None:
    """Store what the old code says, by variant."""
    text = json.dumps(stored, indent=0, sort_keys=True, ensure_ascii=False)
    _EXPECTED.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def views(tree: Tree, home: Path, serve: Callable[[Tree, Path], Service]) -> dict[str, Any]:
    """Serve a home, end the service, and gather all that can be seen; JSON values."""
    before = {"state of the log": json.loads(tree.realm(home, "state", "--log", "--json"))}
    service = serve(tree, home)
    wait_until(lambda: _is_settled(home))
    by_http = _by_http(service)
    assert service.stop() == 0, service.output.read_text()
    found = before | by_http | _by_command(tree, home) | _in_files(home)
    comparable: dict[str, Any] = _comparable(json.loads(json.dumps(found)))
    return comparable


def _comparable(value: Any) -> Any:
    """Leave out ages, texts for people, and arrivals of older rows that are filled in now."""
    if isinstance(value, list):
        return [_comparable(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _comparable(each)
        for name, each in value.items()
        if name not in ("age_s", "description", "problem")
        and not (name == "observed_unix_nano" and int(each) > _MADE_NS)
    }


def _is_settled(home: Path) -> bool:
    """Whether upkeep has filled all older rows, and webhooks have seen all."""
    unfilled = rows(home / _LOG, "SELECT 1 FROM battle_log WHERE event_id IS NULL LIMIT 1")
    last = rows(home / _LOG, "SELECT seq FROM sqlite_sequence WHERE name = 'battle_log'")
    seen = rows(home / _LOG, "SELECT cursor FROM realm_cursors WHERE pipeline = ''")
    return not unfilled and seen == last


def _by_http(service: Service) -> dict[str, Any]:
    state = service.get("/api/state")
    events = service.get("/api/battle_log", limit=1000, since=_SINCE)
    return {
        "state": state["state"],
        "state's cursor": state["cursor"],
        "state's events": state["events"],
        "events": events,
        "channels": service.get("/api/battle_log/channels"),
        "summary": service.get("/api/battle_log/summary", by="day,kind,run", since=_SINCE),
        "histogram": service.get(
            "/api/battle_log/histogram", since=_SINCE, until="2026-01-01", buckets=20
        ),
        "series": service.get("/api/battle_log/series", since=_SINCE, fields="loss"),
        "found": [
            event["id"] for event in service.get("/api/battle_log", q="started", since=_SINCE)
        ],
        "receipts": service.get("/api/receipts")["receipts"],
        "metrics": sorted(_metric_lines(service.text("/metrics"))),
    }


def _metric_lines(text: str) -> list[str]:
    """The metrics that are made of events and receipts."""
    kept = r"realm_(events|job|eval|training|checkpoint|receipt|producer|log_cursor)"
    return [line for line in text.splitlines() if re.match(kept, line)]


def _by_command(tree: Tree, home: Path) -> dict[str, Any]:
    query = tree.realm(home, "query", "--json", "--since", _SINCE, "-n", "1000")
    stats = tree.realm(home, "stats", "--json", "--since", _SINCE, "--by", "kind,severity")
    return {
        "realm state": json.loads(tree.realm(home, "state", "--json", "--log")),
        "realm query": json.loads(query),
        "realm stats": json.loads(stats),
        "realm webhooks log": json.loads(
            tree.realm(home, "webhooks", "log", "--json", "--limit", "100")
        ),
    }


def _in_files(home: Path) -> dict[str, Any]:
    found = {name: rows(home / path, query) for name, (path, query) in _QUERIES.items()}
    found["coverage cursor"] = rows(home / COVERAGE[0], COVERAGE[1])
    found["metric cursors"] = rows(home / METRIC_CURSORS[0], METRIC_CURSORS[1])
    return found

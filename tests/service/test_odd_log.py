"""A service over a log and files that other hands have been at: it starts, and answers."""

import contextlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.home import LOG, METRICS, SEARCH_INDEX, STATE, WEBHOOK_ADDRESSES, WEBHOOKS
from realm_telemetry.log import LogWriter
from realm_telemetry.wire import BatchProducer, encode_batch
from realm_telemetry.wire.v1 import event_pb2 as pb

from .conftest import asking, free_ports, make_event, serving
from .streaming import cursors, stream, take

DEPTHS = (16, 17, 18, 967)
ODD_UPDATES = (
    "message = CAST(x'ff61' AS TEXT)",
    "kind = x'00ff'",
    "channel = CAST(x'ff' AS TEXT)",
    "severity = 'fatal'",
    "details_json = '{\"loss\": NaN}'",
    "details_json = 'plain'",
    "details_json = CAST(zeroblob(1000) AS TEXT)",
    "details_json = replace(printf('%.*c', 3000, 'x'), 'x', '[')",
    "details_json = replace(printf('%.*c', 900, 'x'), 'x', '[') || replace(printf('%.*c', 900,"
    " 'x'), 'x', ']')",
    "time_unix_nano = 1e300",
    "time_unix_nano = NULL",
    "event_id = x'00'",
    "producer = NULL, hero_id = x'ff', run_id = CAST(x'ff' AS TEXT)",
    "trace_flags = -1, trace_id = 'zz', span_id = x'00', rank = 'first'",
)


def nested(depth: int) -> str:
    """Objects inside each other, as JSON."""
    return '{"a":' * depth + "1" + "}" * depth


def every_answer(client: httpx.Client) -> dict[str, int]:
    """The status of everything that reads the log."""
    log = "/api/battle_log"
    paths = (
        *(log, f"{log}?channel=system", f"{log}?has=a:1", f"{log}?has=b/c:1", f"{log}?q=note"),
        *(f"{log}/histogram", f"{log}/channels", f"{log}/summary?by=channel,kind,run,severity"),
        *(f"{log}/series?fields=loss,a/b", f"{log}/export", f"{log}/export?format=csv"),
        *("/api/state", "/api/events", "/api/receipts", "/metrics", "/health", "/ready"),
    )
    return {path: client.get(path).status_code for path in paths}


@pytest.fixture
def odd_home(tmp_path: Path) -> Path:
    """A log with a row of each oddity between good ones."""
    with LogWriter(tmp_path / LOG) as writer:
        writer.append([make_event(number) for number in range(1, 2 * len(ODD_UPDATES) + 2)])
    with closing(sqlite3.connect(tmp_path / LOG)) as connection, connection:
        for place, change in enumerate(ODD_UPDATES, 1):
            connection.execute(f"UPDATE battle_log SET {change} WHERE id = ?", (2 * place,))
    return tmp_path


def test_odd_rows_stop_no_answer_and_no_neighbour(odd_home: Path) -> None:
    """History, live, state, metrics, and each row by its cursor."""
    with serving(free_ports(odd_home)) as server, asking(server) as client:
        _wait_until_ready(client)
        answers = every_answer(client)
        assert set(answers.values()) == {200}, answers
        for cursor in range(1, 2 * len(ODD_UPDATES) + 2):
            assert client.get(f"/api/battle_log/{cursor}").json()["cursor"] == cursor
        last = 2 * len(ODD_UPDATES) + 1
        log_id = client.get("/health").json()["log_id"]
        with stream(client, last_event_id=f"{log_id}-0") as source:
            assert cursors(take(source, last)) == list(range(1, last + 1))


def _wait_until_ready(client: httpx.Client) -> None:
    for _ in range(100):
        if client.get("/ready").status_code == 200:
            return
        client.get("/health")
    raise AssertionError(client.get("/ready").text)


def test_files_beside_the_log_that_are_garbage_stop_nothing(odd_home: Path) -> None:
    (odd_home / "data").mkdir(mode=0o700, exist_ok=True)
    names = (SEARCH_INDEX, STATE, METRICS, WEBHOOKS, WEBHOOK_ADDRESSES)
    for name in names:
        (odd_home / name).write_bytes(b"garbage" * 1000)
    with serving(free_ports(odd_home)) as server, asking(server) as client:
        _wait_until_ready(client)
        assert set(every_answer(client).values()) == {200}
        hook = make_event(1000, producer="00000000000000bb", webhooks=("https://example.org/x",))
        assert _post(client, encode_batch([hook])).status_code == 200
    with contextlib.ExitStack() as stack:
        for name in names:
            connection = stack.enter_context(closing(sqlite3.connect(odd_home / name)))
            assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert len(list(odd_home.glob("*/*.damaged-*"))) == len(names)


def _post(client: httpx.Client, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/x-protobuf"}
    return client.post("/api/v1/events", content=body, headers=headers)


def test_an_event_that_is_nested_too_deep_is_cut_at_every_door(client: httpx.Client) -> None:
    """And marked; what reads it goes on."""
    batch = pb.EventBatch()
    for number, depth in enumerate(DEPTHS, 1):
        filled = pb.EventBatch.FromString(encode_batch([make_event(number)])).events[0]
        filled.details_json = nested(depth).encode()
        batch.events.append(filled)
    batch.producers.add(
        producer_id=0xAA, pipeline="p", resource_json=nested(967).encode(), history=True
    )
    assert _post(client, batch.SerializeToString()).status_code == 200
    deep = json.loads(nested(900))
    for path, body in (
        ("/api/v1/events", {"events": [{"kind": "note", "details": deep}]}),
        ("/api/event", {"kind": "note", "message": "x", "details": deep}),
        ("/api/update/vault", deep),
    ):
        assert client.post(path, json=body).status_code < 300, path
    _wait_until_ready(client)
    assert set(every_answer(client).values()) == {200}
    events = client.get("/api/battle_log").json()
    assert len(events) == len(DEPTHS) + 3
    assert all(_depth(event["details"]) <= 20 for event in events)
    whole = [event for event in events if "realm.truncated" not in event["details"]]
    assert [_depth(event["details"]) for event in whole] == [17, 16]


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def test_a_resource_that_is_nested_too_deep_is_cut(client: httpx.Client) -> None:
    """The older way to bring one: beside the events of a producer."""
    producer = BatchProducer("00000000000000aa", "p", json.loads(nested(900)))
    assert _post(client, encode_batch([make_event(1)], [producer])).status_code == 200
    assert client.get("/api/receipts").status_code == 200


def test_a_damaged_page_costs_only_what_is_on_it(tmp_path: Path) -> None:
    """A clear answer for the rows there; all others are read, and new ones stored."""
    text = "x" * 2000
    with LogWriter(tmp_path / LOG) as writer:
        writer.append([make_event(number, message=text) for number in range(1, 401)])
    _damage_page_of(tmp_path / LOG, 5)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        newest = client.get("/api/battle_log?limit=50")
        assert (newest.status_code, len(newest.json())) == (200, 50)
        damaged = client.get("/api/battle_log/5")
        assert damaged.status_code == 503
        assert damaged.json()["error"] == "log_unavailable"
        assert "is corrupt" in damaged.json()["message"]
        assert client.get("/api/battle_log/400").status_code == 200
        assert client.get("/api/battle_log/histogram").status_code == 200
        assert _post(client, encode_batch([make_event(401)])).status_code == 200
        assert client.get("/api/battle_log?limit=1").json()[0]["cursor"] == 401


def _damage_page_of(path: Path, cursor: int) -> None:
    """Overwrite the page that has a row with this id, as a failing disk could."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        event_id = connection.execute(
            "SELECT event_id FROM battle_log WHERE id = ?", (cursor,)
        ).fetchone()[0]
    data = path.read_bytes()
    needle = event_id
    places = [at for at in range(0, len(data), size) if needle in data[at : at + size]]
    tables = [at for at in places if data[at] == 0x0D and b"xxxx" in data[at : at + size]]
    with path.open("r+b") as file:
        file.seek(tables[0])
        file.write(b"\xff" * size)

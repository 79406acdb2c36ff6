"""`realm log move`: a whole log from SQLite to PostgreSQL, wherever it is interrupted."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import PROCESS_LOST_NUMBER, Event
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log.curves import CurvesMark
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.outbox import Message, RuleState
from realm_telemetry.log.postgres import connection
from realm_telemetry.log.postgres.move import _COLUMNS, _OUTBOX, MoveTarget
from realm_telemetry.log.records import ProducerInfo, Refusal
from realm_telemetry.log.runs import RunsMark, StoredRun
from realm_telemetry.log.sqlite.departure import OUTBOX, TABLES, Departure
from realm_telemetry.transfer import log_move
from realm_telemetry.transfer.log_move import MoveReport, move_log
from tests.postgres_server import PASSWORD, Server
from tests.service.conftest import free_ports, serving
from tests.tcp_proxy import TcpProxy
from tests.waiting import wait_until

from .conftest import EXECUTABLE, NOW, make_event

pytestmark = pytest.mark.processes

OTHER_HOST = "ab" * 16
LOCAL, REMOTE, IMPORTED = "00000000000000aa", "00000000000000bb", "00000000000000cc"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """One server for the tests of this file."""
    with Server() as server:
        yield server


@pytest.fixture
def url(postgres: Server, tmp_path: Path) -> str:
    """A place of the test's own."""
    return postgres.url(schema="m_" + tmp_path.name.replace("-", "_").lower()[-36:])


def home_log(home: Path) -> Log:
    return open_log(home / "vault" / "jobs.db", home=home)


def move(home: Path, url: str, progress: Callable[..., None] = lambda *_: None) -> MoveReport:
    return move_log(Settings(home=home), url, progress)


def fill(home: Path, *, more: int = 0) -> Log:
    """Make a log that has something in every table."""
    log = home_log(home)
    with log.writer() as writer:
        writer.register_kind(KindSpec("smelted", "system", "info", "Smelted {ore}", routine=True))
        writer.register_producer(ProducerInfo(LOCAL, "p1", {"service.name": "dio"}, history=False))
        remote = ProducerInfo(REMOTE, "remote/p2", {"service.name": "ada"}, origin=OTHER_HOST)
        writer.register_producer(remote)
        writer.append([_odd(number) for number in range(1, 40 + more)], pipeline="p1")
        writer.append([make_event(PROCESS_LOST_NUMBER, producer=LOCAL, kind="process_lost")])
        writer.append(
            [
                make_event(number, producer=REMOTE, webhooks=["https://hooks.test/a"])
                for number in (1, 2, 5)
            ],
            source=OTHER_HOST,
            keep_arrival=True,
        )
        writer.note_resource(IMPORTED, "import", {"service.name": "old"})
        writer.append([make_event(2**63 + 7, producer=IMPORTED)], source="")
        writer.record_receipt(LOCAL, emitted=39 + more, ended=True)
        writer.save_cursor("", "webhook", 7)
        writer.save_cursor("p1", "realm_service", 9)
        writer.add_dead_letter("p1", "jsonl", 3, "no\0room")
        writer.add_refusal("p1", Refusal("otlp", 4, "too old"))
        run = StoredRun("run-1", NOW, NOW + 1, "running", "train.py", 5, b"\x00\xff")
        writer.save_runs([run], RunsMark(5), after=0)
        curves, mark = log.curves(writer.log_id), CurvesMark(begun=1)
        curves.save("live", {"run 1": b"\x00\xff"}, mark._replace(live=9), before=mark)
    with closing(log.outbox("webhooks")) as outbox:
        message = Message(
            message_id="msg_1",
            scope="main",
            rule="failed",
            title="A",
            target="lab",
            events=1,
            body=b"{\x00}",
            due_unix_nano=0,
            created_unix_nano=1,
        )
        states = [RuleState("failed", "dio", "v1", b"\x80")]
        outbox.take("main", [("main", "e1")], states, [message])
    return log


def _odd(number: int) -> Event:
    texts = ["Plain", "Tab\there", "Ärger ὀξύς 火", "NUL \0 and \uffff", "Back\\slash\nnew", ""]
    return make_event(
        number,
        producer=LOCAL,
        kind=("job_started", "smelted", "note")[number % 3],
        message=texts[number % len(texts)],
        details={"a": 1e22, "b": ["\0", "\\"], "ü": {"z": None}} if number % 2 else {},
        hero_id="H" * 2_000 if number == 4 else f"hero\t{number % 3}" if number % 4 else None,
        run_id=f"run {number % 5}" if number % 3 else None,
        rank=number if number % 7 == 0 else None,
        trace_id="ab" * 16 if number % 5 == 0 else None,
        span_id="cd" * 8 if number % 5 == 0 else None,
    )


def facts(log: Log) -> dict[str, Any]:
    """All that both logs must agree on."""
    with log.reader() as reader, reader.snapshot() as now:
        return {
            "rows": now.after(0, 100_000, webhooks=True),
            "receipts": {
                each.producer: msgspec.structs.replace(each, pipeline="") for each in now.receipts()
            },
            "producers": {each.producer: each.resource for each in now.producers()},
            "happened": now.happened(),
            "summary": now.summary(),
            "kinds": now.kinds(),
            "dead": now.dead_letters(),
            "refused": now.refusals("p1"),
            "cursors": now.cursors(""),
            "run": now.run("run-1"),
            "mark": now.runs_mark(),
            "edges": (now.min_cursor(), now.max_cursor()),
            "log_id": reader.log_id,
            "curves": log.curves(reader.log_id).layers("run 1"),
        }


def test_both_sides_name_the_same_tables() -> None:
    assert TABLES.keys() - {"totals", "meta"} <= _COLUMNS.keys()
    assert OUTBOX.keys() == _OUTBOX.keys()


def test_everything_of_a_log_is_at_its_new_place(tmp_path: Path, url: str) -> None:
    log = fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / "vault" / "jobs.db")) as other, other:
        # Of an older program, and of one that writes what it likes.
        other.execute(
            "INSERT INTO battle_log (timestamp, channel, source, message, details_json)"
            " VALUES ('2025-11-29 10:00:00', 'jobs', 'event.job_started', 'Old', '{}')"
        )
        other.execute("UPDATE battle_log SET details_json = 'no json', rank = 'first' WHERE id = 6")
    before = facts(log)
    report = move(tmp_path, url)
    there = open_log(url)
    after = facts(there)
    long_name = before["rows"][3].event.hero_id
    assert after["rows"][3].event.hero_id.startswith(long_name[:1_000])
    for rows in (before["rows"], after["rows"]):
        rows[3] = msgspec.structs.replace(rows[3], event=make_event())
    for what, known in before.items():
        assert after[what] == known, what
    assert (report.log_id, report.events) == (before["log_id"], len(before["rows"]))
    with there.reader() as reader:
        assert [row.event.number for row in reader.now.page(_words("ärger")).rows]
        info = {each.producer: each for each in reader.now.producers()}
        assert (info[LOCAL].pipeline, info[LOCAL].history) == ("remote/p1", True)
    with closing(there.outbox("webhooks")) as outbox:
        assert [each.body for each in outbox.messages(10)] == [b"{\x00}"]
        assert outbox.states("main") == [RuleState("failed", "dio", "v1", b"\x80")]
        assert outbox.unseen("main", ["e1"]) == set()
    with closing(log.outbox("webhooks")) as outbox:
        assert outbox.messages(10) == [], "only the new place sends what waits"


def _words(text: str) -> Any:
    from realm_telemetry.log import Filters

    return Filters(q=text)


def test_the_source_goes_on_as_another_log_whose_events_are_taken(tmp_path: Path, url: str) -> None:
    log = fill(tmp_path)
    with log.writer() as writer:
        report = move(tmp_path, url)
        with pytest.raises(LogUnavailableError, match="replaced"):
            writer.append([make_event(41, producer=LOCAL)])
    with log.reader() as reader:
        assert reader.log_id == report.source_id != report.log_id
    moved = log.describe().moved
    assert moved is not None
    assert (moved.log_id, moved.cursor) == (report.log_id, report.last_cursor)
    with open_log(url).writer() as writer:
        known = [make_event(39, producer=LOCAL), make_event(1, producer=REMOTE)]
        assert writer.append(known[:1], source=report.source_id).duplicates == 1
        assert writer.append(known[1:], source=OTHER_HOST).duplicates == 1
        stored = writer.append([make_event(40, producer=LOCAL)], source=report.source_id)
        assert (stored.stored, stored.first_cursor) == (1, report.last_cursor + 1)
        assert writer.append([make_event(41, producer=LOCAL)], source="cd" * 16).refused


@pytest.mark.parametrize("state", ["no password", "another log"])
def test_a_service_without_the_log_that_was_moved_says_where_it_is(
    tmp_path: Path, postgres: Server, state: str
) -> None:
    schema = f"left{state[:2]}"
    place = postgres.tcp_url(password=PASSWORD.replace(" ", "%20"), schema=schema)
    if state == "another log":
        place = postgres.url(schema=schema)
    fill(tmp_path)
    move(tmp_path, place)
    if state == "another log":
        postgres.sql(f"UPDATE {schema}.realm_meta SET value = 'f' WHERE key = 'log_id'")
    done = subprocess.run(
        [EXECUTABLE, "serve", "--port", "0"],
        env=os.environ | {"REALM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "was moved to" in done.stderr
    assert "REALM_LOG_URL" in done.stderr
    assert "correct%20horse" not in done.stderr


def test_a_move_that_is_interrupted_anywhere_goes_on(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_move, "BLOCK_ROWS", 10)
    log = fill(tmp_path)
    before = facts(log)
    places = [
        (MoveTarget, "begin", False),
        (MoveTarget, "copy", True),
        (MoveTarget, "make_indexes", False),
        (MoveTarget, "hold", True),
        (MoveTarget, "note_whole", False),
        (MoveTarget, "note_whole", True),
        (MoveTarget, "finish", False),
        (Departure, "forget_messages", False),
    ]
    for place in places:
        _interrupted(monkeypatch, tmp_path, url, *place)
        if place[1] not in ("finish", "forget_messages"):
            assert facts(log) == before, "nothing has changed before the seal"
    report = move(tmp_path, url)
    assert report.was_sealed
    after = facts(open_log(url))
    assert after["receipts"] == before["receipts"]
    assert [row.cursor for row in after["rows"]] == [row.cursor for row in before["rows"]]
    assert after["log_id"] == report.log_id == before["log_id"]


@pytest.mark.parametrize("step", ["begin", "copy", "hold", "note_whole", "finish"])
def test_a_server_that_hangs_holds_no_log_and_the_move_goes_on(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    log = fill(tmp_path)
    before = facts(log)
    proxy = TcpProxy(postgres.port)
    place = f"postgresql://realm:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{proxy.port}/postgres"
    url = f"{place}?schema=hangs_{step}"
    original = getattr(MoveTarget, step)

    def hang(self: Any, *args: Any) -> Any:
        proxy.set("half-open")
        return original(self, *args)

    with closing(proxy):
        with monkeypatch.context() as patched:
            patched.setattr(MoveTarget, "answer_s", 1.0)
            patched.setattr(MoveTarget, step, hang)
            with pytest.raises(LogUnavailableError, match="does not answer"):
                move(tmp_path, url)
        with log.writer() as writer:
            writer.append([make_event(70_000, producer=LOCAL)])
        proxy.set("pass")
        report = move(tmp_path, url)
        assert report.was_sealed == (step == "finish")
        moved = facts(open_log(url))
    assert [row.event.id for row in before["rows"]] == [
        row.event.id for row in moved["rows"] if row.event.number != 70_000
    ]


def _interrupted(
    monkeypatch: pytest.MonkeyPatch, home: Path, url: str, owner: type, name: str, behind: bool
) -> None:
    """Move, and be interrupted before a step or when it is done."""
    original = getattr(owner, name)

    def interrupted(self: Any, *args: Any) -> Any:
        if behind:
            original(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            move(home, url)


def test_rows_that_retention_takes_meanwhile_are_not_there(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_move, "BLOCK_ROWS", 10)
    log = fill(tmp_path)

    def take(doing: str, events: int, share: float | None) -> None:
        if doing == "Moving" and events == 30:
            with closing(sqlite3.connect(tmp_path / "vault" / "jobs.db")) as other, other:
                other.execute("DELETE FROM battle_log WHERE id < 4 OR id IN (9, 22)")

    move(tmp_path, url, take)
    assert facts(open_log(url))["happened"] == facts(log)["happened"]
    cursors = [row.cursor for row in facts(open_log(url))["rows"]]
    assert cursors == [row.cursor for row in facts(log)["rows"]]
    assert {1, 9, 22}.isdisjoint(cursors)


def test_a_move_that_is_killed_goes_on(tmp_path: Path, postgres: Server) -> None:
    log = fill(tmp_path, more=60_000)
    url = postgres.url(schema="killed")
    command = [str(EXECUTABLE), "log", "move", "--to", url, "--json"]
    environ = os.environ | {"REALM_HOME": str(tmp_path)}
    first = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: _copied(postgres) > 0 or first.poll() is not None)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    with log.writer() as writer:
        writer.append([make_event(70_000, producer=LOCAL)])
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert 0 < report["copied"] < report["events"] == report["last_cursor"] == 60_045
    with open_log(url).reader() as reader, log.reader() as here:
        assert reader.now.receipt_totals() == here.now.receipt_totals()
        assert reader.now.happened() == here.now.happened()


def _copied(postgres: Server) -> int:
    (name,) = postgres.sql("SELECT to_regclass('killed_moving.events')::text")[0]
    return int(postgres.sql(f"SELECT count(*) FROM {name}")[0][0]) if name else 0


PROGRAM = """
import sys, time
from pathlib import Path
import realm_telemetry as realm
realm.configure(service_name="worker")
stop, count = Path(sys.argv[1]), 0
while not stop.exists():
    for _ in range(20):
        count += 1
        realm.emit("note", f"Note {count}", step=count)
    time.sleep(0.02)
realm.shutdown()
print(count)
"""


def test_producers_that_go_on_emitting_lose_nothing(tmp_path: Path, url: str) -> None:
    home, stop = tmp_path / "home", tmp_path / "stop"
    environ = os.environ | {"REALM_HOME": str(home)}
    with _program(environ, stop) as program:
        with serving(free_ports(home)):
            wait_until(lambda: _stored(home_log(home)) > 300)
            report = move(home, url)
            before = _stored(home_log(home))
            wait_until(lambda: _stored(home_log(home)) > before + 100)
            # The service that still runs goes on where its log is now.
            wait_until(lambda: _stored(open_log(url)) > report.events + 100)
        # As one does that starts.
        with serving(free_ports(home)):
            stop.touch()
            count = int(program.communicate(timeout=60)[0])
            wait_until(partial(_is_whole, url, count))
        rows = facts(open_log(url))["rows"]
        steps = [row.event.details["step"] for row in rows if row.event.kind == "note"]
        assert sorted(steps) == list(range(1, count + 1))
        assert [row.cursor for row in rows] == list(range(1, len(rows) + 1))


def _is_whole(url: str, count: int) -> bool:
    with open_log(url).reader() as reader:
        happened = reader.now.happened()
    return sum(number for (_, kind, _), number in happened.items() if kind == "note") >= count


def _stored(log: Log) -> int:
    if not log.exists():
        return 0
    with log.reader() as reader:
        return sum(reader.now.happened().values())


@contextmanager
def _program(environ: dict[str, str], stop: Path) -> Iterator["subprocess.Popen[str]"]:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(stop)],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield program
    finally:
        stop.touch()
        program.wait(60)


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path, postgres: Server) -> None:
    fill(tmp_path)
    url = postgres.url(schema="taken")
    with open_log(url).writer() as writer:
        writer.append([make_event(1)])
    with pytest.raises(LogUnavailableError, match=r"a log at .* already, with events up to 1"):
        move(tmp_path, url)
    postgres.sql("CREATE SCHEMA shared", "CREATE TABLE shared.wages (id int)")
    with pytest.raises(LogUnavailableError, match=r"not the log's .wages"):
        move(tmp_path, postgres.url(schema="shared"))
    assert postgres.sql("SELECT count(*) FROM shared.wages") == [(0,)]
    used = open_log(postgres.url(schema="used"))
    used.writer().close()
    lease = used.lease("exporters")
    assert lease.take()
    with pytest.raises(LogUnavailableError, match="a service uses the empty log"):
        move(tmp_path, postgres.url(schema="used"))
    lease.release()
    move(tmp_path, postgres.url(schema="used"))
    with pytest.raises(LogUnavailableError, match=r"was moved to .*used.* already"):
        move(tmp_path, postgres.url(schema="elsewhere"))


def test_half_of_another_log_and_a_copy_of_this_one_are_refused(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first)
    fill(second)
    url = postgres.url(schema="half")
    _interrupted(monkeypatch, first, url, MoveTarget, "hold", True)
    with pytest.raises(LogUnavailableError, match="half of the log"):
        move(second, url)
    with closing(sqlite3.connect(first / "vault" / "jobs.db")) as here:
        (tmp_path / "copy" / "vault").mkdir(parents=True)
        with closing(sqlite3.connect(tmp_path / "copy" / "vault" / "jobs.db")) as there:
            here.backup(there)
    move(first, url)
    with pytest.raises(LogUnavailableError, match="has this log already"):
        move(tmp_path / "copy", url)


def test_what_is_wrong_is_said(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="--to"):
        move(tmp_path, "mysql://db/realm")
    with pytest.raises(LogUnavailableError, match="there is no log"):
        move(tmp_path, postgres.url())
    fill(tmp_path)
    wrong = postgres.tcp_url(password="wrong")
    with pytest.raises(LogUnavailableError, match="refuses the password") as refused:
        move(tmp_path, wrong)
    assert "wrong" not in str(refused.value).replace("wrong password", "")
    with pytest.raises(LogUnavailableError, match="has no such database"):
        move(tmp_path, postgres.tcp_url("nowhere", password=PASSWORD.replace(" ", "%20")))
    reading = postgres.url(options="-cdefault_transaction_read_only%3Don")
    with pytest.raises(LogUnavailableError, match="cannot be written"):
        move(tmp_path, reading)
    with pytest.raises(ConfigError, match="more than"):
        move(tmp_path, postgres.url(schema="s" * 50))
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"realm-telemetry\[postgres\]"):
        move(tmp_path, postgres.url())
    monkeypatch.undo()
    monkeypatch.setattr(connection, "OLDEST_SERVER", 990_000)
    with pytest.raises(ConfigError, match="too old"):
        move(tmp_path, postgres.url())
    assert home_log(tmp_path).describe().moved is None

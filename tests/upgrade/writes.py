"""The transactions of real processes, as SQLite sees them."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .processes import Producer
from .trees import Tree

_TRACER: Final = """
import json, os, sqlite3

file = os.open(os.environ["TRACE_TO"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
connect = sqlite3.connect

def traced(database, *arguments, **options):
    connection = connect(database, *arguments, **options)
    name = os.path.basename(str(database)).partition("?")[0]
    key = f"{os.getpid()} {id(connection)}"

    def note(statement):
        os.write(file, (json.dumps([key, name, statement]) + "\\n").encode())

    connection.set_trace_callback(note)
    return connection

sqlite3.connect = traced
"""
_TABLE: Final = re.compile(
    r"^\s*(?:INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM|REPLACE INTO)\s+(\w+)", re.I
)
_CONTROL: Final = re.compile(
    r"^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA (synchronous|journal_mode) =)", re.I
)
_SCRIPT: Final = Path(__file__).parent / "traced_writing.py"
_SAFE: Final = {
    "addresses",
    "battle_log",
    "realm_cursors",
    "realm_dead_letters",
    "realm_producers",
    "webhook_requests",
}
"""Tables in which nothing may be lost; upkeep, which may come between, writes others."""


class Statement(NamedTuple):
    """One statement. connection: of which process and connection; file: the database's name."""

    connection: str
    file: str
    text: str


class Transaction(NamedTuple):
    """What makes a transaction safe. synchronous: the last setting before it began."""

    file: str
    synchronous: str
    begin: str
    written: tuple[str, ...]
    end: str


_FORGETTING: Final = Transaction(
    "webhook_addresses.db", "as SQLite has it", "autocommit", ("addresses",), ""
)
"""Upkeep removes addresses that no event names any more, if it comes to that."""


def trace(tree: Tree, directory: Path, *arguments: str) -> list[Statement]:
    """Run Python from a tree; every statement of its SQLite connections, in order."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(_TRACER)
    variables = {"PYTHONPATH": f"{directory}:{tree.site}", "TRACE_TO": str(directory / "trace")}
    done = tree.run(*arguments, **variables)
    assert done.returncode == 0, done.stderr
    lines = (directory / "trace").read_text().splitlines()
    return [Statement(*json.loads(line)) for line in lines]


def log_writes(tree: Tree, writer: str, directory: Path) -> list[str]:
    """What begins, ends and syncs the transactions of a fixed series of writes.

    writer: the class of the log's writer, `module:name`.
    """
    log = directory / "vault" / "jobs.db"
    statements = trace(tree, directory / "trace", str(_SCRIPT), writer, str(log))
    return [
        each.text.strip()
        for each in statements
        if each.file == log.name and _CONTROL.match(each.text)
    ]


def shipper_transactions(tree: Tree, directory: Path) -> list[Transaction]:
    """The sorts of transactions by which a shipper takes a producer's events to the log."""
    home = directory / "home"
    home.mkdir(mode=0o700)
    producer = Producer(tree, home, shipper="none", exporters=["battle_log", "jsonl"])
    producer.emit(300)
    producer.emit(3, first=300, webhooks=["http://127.0.0.1:9/hook"])
    producer.exit()
    command = ("-m", "realm_telemetry", "--home", str(home), "ship", "--once")
    found = set(_transactions_of_all(trace(tree, directory / "shipper", *command)))
    return sorted(each for each in found - {_FORGETTING} if _SAFE.intersection(each.written))


def _transactions_of_all(statements: list[Statement]) -> Iterator[Transaction]:
    by_connection: defaultdict[str, list[Statement]] = defaultdict(list)
    for each in statements:
        by_connection[f"{each.connection} {each.file}"].append(each)
    for own in by_connection.values():
        yield from _transactions(own)


def _transactions(statements: list[Statement]) -> Iterator[Transaction]:
    synchronous, begin, written = "as SQLite has it", "", set[str]()
    for _, file, text in statements:
        words = " ".join(text.split())
        if match := re.match(r"PRAGMA synchronous = (\w+)", words, re.I):
            synchronous = match[1]
        elif words.upper().startswith("BEGIN"):
            begin, written = words, set()
        elif words.upper() in ("COMMIT", "ROLLBACK"):
            if written:
                yield Transaction(file, synchronous, begin, tuple(sorted(written)), words)
            begin, written = "", set()
        elif match := _TABLE.match(text):
            if begin:
                written.add(match[1])
            else:
                yield Transaction(file, synchronous, "autocommit", (match[1],), "")

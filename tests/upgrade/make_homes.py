"""Make the homes of `homes/` with the code before the move; they are stored, and not made anew.

    python -m tests.upgrade.make_homes

Takes the old code from git (`trees.OLD_COMMIT`) and runs it with its clock set to 2025-11-29, so
that nothing in a home is young: workers are stale, for tests of any day. Then serves a copy of
each home with the old code and the clock of today, and stores all that it says beside it.

normal: two campaigns, webhooks sent and dead, a saved RealmState, metrics, the search index; then
    a third campaign that the snapshot lacks.
trimmed: the same, and retention has removed all that the snapshot covers.
older: a `battle_log` of older programs beside their own table, extended and half filled in.
"""

import json
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.waiting import wait_until

from .internals import OLD_LOG_WRITER
from .processes import Service, rows
from .receivers import Plan, Receiver
from .trees import Tree, check_out_old, lay_out
from .views import HOMES, VARIANTS, store_expected, unpack, views
from .writes import log_writes, shipper_transactions

THEN_S: Final = 1_764_410_400
"""2025-11-29T10:00:00Z"""

_CLOCK: Final = """
import time
_shift_s = {then_s} - {now_s}
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _shift_s
time.time_ns = lambda: _time_ns() + _shift_s * 1_000_000_000
"""
_SETTINGS: Final = "[service]\nretention_days = {days}\nsnapshot_interval_s = 0.5\n"
_KEPT_DAYS: Final = 36_500
_OLDER: Final = """
CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT);
INSERT INTO jobs VALUES ('j1', 'done'), ('j2', 'open');
CREATE TABLE battle_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, channel TEXT NOT NULL,
    source TEXT NOT NULL, severity TEXT NOT NULL DEFAULT 'info', hero_id TEXT, campaign_id TEXT,
    message TEXT NOT NULL, details_json TEXT);
CREATE INDEX idx_battle_log_timestamp ON battle_log (timestamp DESC);
"""
_FILL_SOME: Final = """
import sys
from pathlib import Path
from realm_telemetry.log import LogWriter
with LogWriter(Path(sys.argv[1])) as writer:
    writer.backfill_step(120)
"""

_DELIVER_SOME: Final = """
import sys
from pathlib import Path
from realm_telemetry.log import LogWriter
from realm_telemetry.log.cursors import Refusal
with LogWriter(Path(sys.argv[1])) as writer:
    writer.save_cursor("0123456789ab", "otlp", 100)
    writer.add_dead_letter("0123456789ab", "otlp", 90, "HTTP 400")
    writer.add_dead_letter("0123456789ab", "otlp", 95, "HTTP 400")
    writer.add_refusal("0123456789ab", Refusal("otlp", 3, "refused"))
"""


class Past(Tree):
    """The old code, at the clock of then."""

    def __init__(self, tree: Tree, directory: Path) -> None:
        super().__init__(tree.site)
        self._clock = directory
        directory.mkdir()
        text = _CLOCK.format(then_s=THEN_S, now_s=int(time.time()))
        (directory / "sitecustomize.py").write_text(text)

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment, with the clock in front."""
        found = super().environment(**variables)
        return found | {"PYTHONPATH": f"{self._clock}:{self.site}"}


def emit(tree: Tree, home: Path, seed: int, rounds: int, url: str = "") -> None:
    """Emit a campaign and ship it."""
    script = Path(__file__).parent / "campaign.py"
    done = tree.run(str(script), str(home), str(seed), str(rounds), url)
    assert done.returncode == 0, done.stderr
    tree.realm(home, "ship", "--once")


def change_log(tree: Tree, home: Path, code: str) -> None:
    """Run code of the log's writer."""
    done = tree.run("-c", code, str(home / "vault" / "jobs.db"))
    assert done.returncode == 0, done.stderr


def settings(home: Path, receiver: Receiver, days: float) -> None:
    """Write the home's settings."""
    text = receiver.webhook_settings() + _SETTINGS.format(days=days)
    (home / "realm.toml").write_text(text)


def covered(home: Path) -> bool:
    """Whether snapshot, metrics and search have come to the end of the log."""
    (last,) = rows(home / "vault" / "jobs.db", "SELECT max(id) FROM battle_log")
    snapshot = rows(home / "data" / "realm_state.db", "SELECT cursor FROM realm_snapshot")
    metrics = rows(home / "data" / "realm_measures.db", "SELECT cursor FROM realm_measures")
    return snapshot == metrics == [last] and (home / "vault" / "search.db").exists()


def normal(tree: Tree, home: Path, receiver: Receiver) -> None:
    """Make a home as a lab has it."""
    settings(home, receiver, _KEPT_DAYS)
    emit(tree, home, 1, 4, receiver.url)
    service = Service(tree, home)
    emit(tree, home, 2, 3, receiver.url)
    wait_until(lambda: covered(home))
    waiting = "SELECT 1 FROM messages WHERE state = 'pending'"
    wait_until(lambda: not rows(home / "data" / "webhooks.db", waiting))
    assert service.stop() == 0
    change_log(tree, home, _DELIVER_SOME)
    emit(tree, home, 3, 1)


def trimmed(tree: Tree, home: Path, receiver: Receiver) -> None:
    """Make a home of whose log only the last rows are left."""
    normal(tree, home, receiver)
    settings(home, receiver, 1e-8)
    service = Service(tree, home)
    wait_until(
        lambda: rows(home / "vault" / "jobs.db", "SELECT count(*) FROM battle_log") == [(0,)]
    )
    wait_until(lambda: covered_all(home))
    assert service.stop() == 0
    settings(home, receiver, _KEPT_DAYS)
    emit(tree, home, 4, 2)


def covered_all(home: Path) -> bool:
    """Whether the snapshot covers a log whose rows are all gone."""
    (last,) = rows(home / "vault" / "jobs.db", "SELECT seq FROM sqlite_sequence")
    return rows(home / "data" / "realm_state.db", "SELECT cursor FROM realm_snapshot") == [last]


def older(tree: Tree, home: Path, receiver: Receiver) -> None:
    """Make a home over an older log whose extension was interrupted."""
    settings(home, receiver, _KEPT_DAYS)
    log = home / "vault" / "jobs.db"
    log.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(log)) as connection, connection:
        connection.executescript(_OLDER)
        connection.executemany(
            "INSERT INTO battle_log (timestamp, channel, source, severity, hero_id, message,"
            " details_json) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [older_row(number) for number in range(300)],
        )
    change_log(tree, home, _FILL_SOME)
    emit(tree, home, 5, 1)


def older_row(number: int) -> tuple[str | None, ...]:
    """A row as older programs wrote it."""
    fraction = f".{number:06d}" if number % 5 else ""
    bus = number % 3 > 0
    return (
        f"2025-11-28T{number // 60:02d}:{number % 60:02d}:00{fraction}Z",
        ("jobs", "training", "system")[number % 3],
        ("event.job_started", "event.training_started")[number % 2] if bus else "titles",
        ("info", "success", "error")[number % 7 % 3],
        ("dio", None)[number % 2],
        f"Older row {number} started",
        json.dumps({"job_id": f"j{number}"}) if number % 4 else None,
    )


def pack(home: Path) -> None:
    """Store a home without what names places of this machine."""
    for name in ("spool", "logs", "runtime"):
        shutil.rmtree(home / name, ignore_errors=True)
    for lock in home.rglob("*lock*"):
        lock.unlink()
    for path in home.rglob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with tarfile.open(HOMES / f"{home.name}.tar.xz", "w:xz", preset=9) as archive:
        archive.add(home, home.name)


def store_writes(tree: Tree, directory: Path) -> None:
    """Store how the old code writes to the log."""
    directory.mkdir()
    expected: dict[str, Sequence[Any]] = {
        "log-writes": log_writes(tree, OLD_LOG_WRITER, directory),
        "shipper-transactions": shipper_transactions(tree, directory),
    }
    for name, found in expected.items():
        lines = ",\n".join(json.dumps(each) for each in found)
        (HOMES / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def main() -> None:
    """Make all homes and what is expected of them."""
    HOMES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tree = lay_out(check_out_old(directory / "source"), directory / "site")
        store_writes(tree, directory / "writes")
        past = Past(tree, directory / "clock")
        receiver = Receiver(Plan(poison_paths=frozenset({"/asked/2"})))
        for make in (normal, trimmed, older):
            home = directory / make.__name__
            home.mkdir(mode=0o700)
            make(past, home, receiver)
            pack(home)
        receiver.close()
        store_expected(
            {
                variant: views(tree, unpack(variant, directory / f"copy of {variant}"), Service)
                for variant in VARIANTS
            }
        )


if __name__ == "__main__":
    main()

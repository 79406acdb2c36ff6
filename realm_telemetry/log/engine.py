"""The log's interface: what the rest of the package uses of it, and every engine provides.

SQLite is the default; PostgreSQL is for more than one machine. A further engine adds a row to
`ENGINES`, translates its errors into those of `log.errors`, and passes the tests of tests/log that
use the `engine` fixture.
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.runs import RunsTable, RunsWriter

if TYPE_CHECKING:
    from realm_telemetry.event import Event
    from realm_telemetry.kinds.catalog import KindSpec
    from realm_telemetry.log.curves import CurveStore
    from realm_telemetry.log.filters import Filters
    from realm_telemetry.log.graphs import Histogram, Series
    from realm_telemetry.log.hosts import HostTable
    from realm_telemetry.log.maintenance import Lease, Retention, Upkeep, UpkeepClaim
    from realm_telemetry.log.outbox import Outbox
    from realm_telemetry.log.ranges import Ranges
    from realm_telemetry.log.records import (
        AppendResult,
        Concern,
        DeadLetter,
        Description,
        Limits,
        OddRows,
        ProducerInfo,
        Receipt,
        ReceiptTotals,
        Refusal,
        SideFile,
        Skipped,
    )
    from realm_telemetry.log.rows import Followed, LogRow, Page
    from realm_telemetry.log.snapshots import FoldSnapshots, SnapshotName

ENGINES: Final[Mapping[str, str]] = {
    "sqlite": "realm_telemetry.log.sqlite.log",
    "postgresql": "realm_telemetry.log.postgres.log",
}
"""The module of each engine by the scheme of its URLs; the module has a function `open_log`."""

_URL: Final = re.compile(r"([a-z][a-z0-9+]*)://(.*)", re.DOTALL)


def open_log(
    place: str | Path,
    *,
    home: Path | None = None,
    search_path: Path | None = None,
    state_path: Path | None = None,
    redact: Sequence[str] = (),
    clock_ns: Callable[[], int] = time.time_ns,
) -> "Log":
    """Return the log at a path or URL; nothing is opened or made before it is used.

    place: a path of SQLite's file, `sqlite://` and the path, or `postgresql://host/database`.
    home: whose `data/` holds what an engine keeps in files beside the log; else found from place.
    search_path: of the full-text index, where the engine keeps that in a file of its own.
    state_path: of RealmState's snapshots, likewise; those of metrics are beside it.
    redact: the setting; what writers take out of events beside the built-in rules.
    Raises ConfigError for a URL of no known engine.
    """
    match = _URL.match(place) if isinstance(place, str) else None
    scheme, rest = match.groups() if match else ("sqlite", str(place))
    if scheme not in ENGINES:
        known = ", ".join(f"{name}://" for name in ENGINES)
        raise ConfigError("the log", f"no engine serves {scheme}://", f"Use a path, or {known}.")
    module = import_module(ENGINES[scheme])
    log: Log = module.open_log(
        rest,
        home=home,
        search_path=search_path,
        state_path=state_path,
        redact=redact,
        clock_ns=clock_ns,
    )
    return log


class Log(Protocol):
    """One log: makes what reads, writes, follows and maintains it.

    Methods raise LogUnavailableError where the log cannot be used.
    """

    place: str

    def exists(self) -> bool:
        """Whether there is a log yet; the first writer makes it."""
        ...

    def identity(self) -> object:
        """Return what distinguishes this log from another at the same place; None if it is gone."""
        ...

    def describe(self) -> "Description":
        """Return where the log is and how large; it must exist."""
        ...

    def concerns(self) -> "list[Concern]":
        """Return what is not as it should be at the place of the log; it must exist."""
        ...

    def abandon(self) -> None:
        """Let all of this process fail at once that waits for the log's server now."""

    def integrity(self, timeout_s: float | None) -> list[str] | None:
        """Return what is wrong in the log, nothing if it is whole; None if time ran out.

        timeout_s: for a quick check; None is a full one, which takes as long as it takes.
        """
        ...

    def odd_rows(self, timeout_s: float | None) -> "OddRows":
        """Return the rows of other software that cannot be read whole, newest first."""
        ...

    def side_files(self, timeout_s: float) -> "list[SideFile]":
        """Return the files beside the log that are there, and what is wrong with each."""
        ...

    def check_writable(self, timeout_s: float) -> None:
        """Wait for a writer's turn and give it back, without writing.

        Raises LogUnavailableError if it does not come within the time.
        """

    def reader(self) -> "Reader":
        """Open the log for reading. It must exist and be of the newest version."""
        ...

    def writer(self) -> "Writer":
        """Open the log for writing; makes it, or brings it up to date."""
        ...

    def watch(self) -> "Watch":
        """Open a watch that notices the commits of others."""
        ...

    def addresses(self) -> "Addresses":
        """Return the webhook addresses that events name."""
        ...

    def outbox(self, name: str) -> "Outbox":
        """Open a transactional outbox; makes it if need be."""
        ...

    def has_outbox(self, name: str) -> bool:
        """Whether an outbox of that name was made."""
        ...

    def snapshots(
        self, name: "SnapshotName", log_id: str, *, version: int = 0, reader: str = ""
    ) -> "FoldSnapshots":
        """Return where snapshots of a fold are; nothing is made before one is saved.

        log_id: that of a reader, so that a snapshot of another log here is none.
        version: of the fold, for `state`. One of an older version is read and covers nothing; one
            of a newer version is neither read nor replaced.
        reader: who counts, for `metrics`.
        """
        ...

    def curves(self, log_id: str) -> "CurveStore":
        """Return where the curves of runs are; nothing is made before some are saved.

        log_id: that of a reader, so that curves of another log here are none.
        """
        ...

    def hosts(self) -> "HostTable | None":
        """Return where services say what they hear from hosts; None for a log of one service."""
        ...

    def lease(self, name: str) -> "Lease":
        """Return the lease of a name; not held yet."""
        ...

    def retention(self, writer: "Writer", limits: "Limits") -> "Retention":
        """Return what trims the log through a writer of it."""
        ...

    def upkeep_claim(self, by: str, *, first: bool = False) -> "UpkeepClaim":
        """Return one process's claim to do the upkeep; not held yet.

        by: who does it. first: take the claim from another process, as a service does.
        """
        ...

    def upkeep(
        self,
        limits: "Limits",
        retain: "Callable[[Retention], bool]",
        *,
        interval_s: float,
    ) -> "Upkeep":
        """Return the upkeep of the log: backfill, search index, retention, unused addresses.

        retain: one step of retention, no further than saved snapshots cover the log; whether
            there is more to do. interval_s: between steps when there is nothing to do.
        """
        ...


class Reader(Protocol):
    """Reads one log, from any thread."""

    log_id: str

    @property
    def now(self) -> "Snapshot":
        """A snapshot of its own for each single query: `reader.now.page(filters)`."""
        ...

    def snapshot(self) -> AbstractContextManager["Snapshot"]:
        """One state of the log for all queries inside; keep it short."""
        ...

    def export(self, filters: "Filters", as_of: int | None = None) -> Iterator["LogRow"]:
        """All rows that match, newest first."""
        ...

    def export_steps(
        self, filters: "Filters", as_of: int | None = None
    ) -> Iterator[list["LogRow"]]:
        """As `export`, in steps that each take a moment; a step may have no rows."""
        ...

    def arrivals(self, filters: "Filters", as_of: int | None = None) -> Iterator["Followed"]:
        """All rows that match, in order of arrival."""
        ...

    def interrupt(self) -> None:
        """End the queries that run now with LogInterruptedError; from any thread.

        One that is between two statements goes on, so call it again until the query is over.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Release what is held."""


class Snapshot(RunsTable, Protocol):
    """The log as it was at one moment, and all that can be asked of it."""

    @property
    def log_id(self) -> str:
        """The id of the log, 32 hex digits."""
        ...

    def page(self, filters: "Filters", as_of: int | None = None, *, count: bool = True) -> "Page":
        """One page of history, newest first; count=False may leave out the total."""
        ...

    def is_filled(self) -> bool:
        """Whether filters find every row; upkeep still fills in those of an older table."""
        ...

    def cursor_before(self, since_unix_nano: int) -> int:
        """A cursor behind which lie all rows that happened since a time."""
        ...

    def stored_among(self, events: Sequence["Event"]) -> int:
        """How many of these events are stored, or were and are refused since."""
        ...

    def histogram(
        self, filters: "Filters", buckets: int = 60, as_of: int | None = None
    ) -> "Histogram":
        """Counts over time by severity."""
        ...

    def channels(self, since_ns: int | None = None) -> dict[str, dict[str, int]]:
        """What happened since a time, by channel and severity."""
        ...

    def happened(self) -> dict[tuple[str, str, str], int]:
        """Events ever stored, by channel, kind and severity."""
        ...

    def summary(
        self,
        by: Sequence[str] = ("channel", "day"),
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> list[dict[str, Any]]:
        """What happened, counted by fields and periods."""
        ...

    def series(self, filters: "Filters", fields: Sequence[str], points: int = 1000) -> "Series":
        """Numbers among the details over time."""
        ...

    def oldest_time(self) -> int | None:
        """The earliest time of a row; None in an empty log."""
        ...

    def after(
        self,
        cursor: int,
        limit: int = 1000,
        filters: "Filters | None" = None,
        *,
        webhooks: bool = False,
    ) -> list["LogRow"]:
        """Rows that arrived after a cursor, in that order."""
        ...

    def follow(
        self, cursor: int, limit: int = 1000, *, pipeline: str, webhooks: bool = False
    ) -> "Followed":
        """Rows of one pipeline's producers after a cursor."""
        ...

    def latest(self, per_group: int = 50) -> list["LogRow"]:
        """The newest rows of each channel and severity that did not come late."""
        ...

    def get(self, event: str | int) -> "LogRow | None":
        """One row by event id or by cursor. Raises InvalidEventError."""
        ...

    def context(self, event: str | int, before: int = 20, after: int = 20) -> list["LogRow"]:
        """What happened around an event, by time, with the event itself."""
        ...

    def receipts(self) -> list["Receipt"]:
        """What became of each registered producer's events."""
        ...

    def receipt_totals(self) -> "ReceiptTotals":
        """What the receipts add up to, and the newest live producers."""
        ...

    def producers(self) -> list["ProducerInfo"]:
        """All registered producers."""
        ...

    def occurring_kinds(self) -> list[str]:
        """The kinds that the log has rows of."""
        ...

    def kinds(self) -> list["KindSpec"]:
        """The kinds that producers registered beside the built-in ones."""
        ...

    def cursors(self, pipeline: str) -> dict[str, int]:
        """The last cursor that each exporter of a pipeline has acknowledged."""
        ...

    def known_exporters(self) -> dict[str, list[str]]:
        """The exporters that have a cursor, and the pipelines of each."""
        ...

    def dead_letters(self, pipeline: str | None = None) -> list["DeadLetter"]:
        """Events that an exporter rejected for good, oldest first."""
        ...

    def refusals(self, pipeline: str) -> list["Refusal"]:
        """Events that each receiver rejected without naming them."""
        ...

    def max_cursor(self) -> int:
        """The cursor of the last row, even if that is gone; 0 in a new log."""
        ...

    def min_cursor(self) -> int:
        """The lowest cursor that can still be resumed from."""
        ...

    def failovers(self) -> list[int]:
        """The cursor of the last row that each promoted standby had, oldest first.

        Rows behind it, that readers had from the server before, are lost.
        """
        ...

    def first_webhook_cursor(self) -> int | None:
        """The cursor of the first event that names webhook addresses."""
        ...


class Writer(RunsWriter, Protocol):
    """Writes to one log, from any thread, beside other processes.

    Each method is one transaction and returns once it is durable, unless its text differs.
    Raises LogRefusedError for what the log can never hold.
    """

    log_id: str

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Release what is held."""

    def append(
        self,
        events: Sequence["Event"],
        *,
        pipeline: str = "",
        skipped: "Skipped | None" = None,
        keep_arrival: bool = False,
        source: str | None = None,
        untimed: Collection[str] = (),
    ) -> "AppendResult":
        """Store events without their secrets in one transaction, each once, in this order.

        source: the log_id of the sender's log, empty without one; None for what this host stores.
        Raises InvalidEventError.
        """
        ...

    def stored_numbers(self, producer: str) -> "Ranges":
        """The numbers of a registered producer that are in the log, or were and are refused."""
        ...

    def register_producer(self, info: "ProducerInfo") -> bool:
        """Keep receipts of a producer; False for one whose events come from elsewhere."""
        ...

    def note_resource(self, producer: str, pipeline: str, resource: Mapping[str, Any]) -> None:
        """Keep the resource of a producer that has no receipt. Durable with the next append."""

    def introduce(
        self,
        pipeline: str,
        counted: Mapping[str, Mapping[str, Any]],
        others: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Keep resources of producers that are not known yet. Durable with the next append."""

    def record_receipt(
        self,
        producer: str,
        *,
        emitted: int | None = None,
        dropped: int | None = None,
        ended: bool | None = None,
    ) -> None:
        """Keep what a producer reports of itself."""

    def register_kind(self, kind: "KindSpec") -> None:
        """Keep a producer's own kind for all readers. Durable with the next append."""

    def load_cursors(self, pipeline: str) -> dict[str, int]:
        """The last cursor that each exporter of a pipeline has acknowledged."""
        ...

    def save_cursor(self, pipeline: str, exporter: str, cursor: int) -> None:
        """Move an exporter's cursor. Durable later: some events may be exported again."""

    def set_back(self, exporter: str, cursor: int) -> dict[str, int]:
        """Ask an exporter to export again what comes after a cursor; where it was, by pipeline."""
        ...

    def asked_back(self, pipeline: str) -> dict[str, int]:
        """The exporters that are to go back, and to which cursor."""
        ...

    def go_back(self, pipeline: str, exporter: str, cursor: int) -> None:
        """Move a cursor back because it was asked for."""

    def drop_cursor(self, pipeline: str, exporter: str) -> None:
        """Forget an exporter that is not set up any more."""

    def add_dead_letter(self, pipeline: str, exporter: str, cursor: int, reason: str) -> None:
        """Keep an event that an exporter rejected for good."""

    def add_refusal(self, pipeline: str, refusal: "Refusal") -> None:
        """Add to the count of events that a receiver rejected without naming them."""

    def probe(self) -> None:
        """Write what a batch may need, and remove it, to learn whether the log can be written."""

    def backfill_step(self, max_rows: int = 200) -> int:
        """Fill in rows of an older table; about how many are left."""
        ...

    def forget_addresses(self) -> None:
        """Remove webhook addresses that no event in the log names any more."""


class Watch(Protocol):
    """Notices commits of other connections; belongs to one thread.

    Polled while rows come, because the tail lives on an event loop: `changed` costs about 3 us.
    waits: whether a reader of this log may have to wait for a server.
    """

    @property
    def waits(self) -> bool: ...

    def changed(self) -> bool:
        """Whether there may be rows that came after the last `caught_up`."""
        ...

    def caught_up(self) -> None:
        """All rows up to the last call of `changed` were read."""

    def epoch(self) -> object:
        """Return what is another after a standby has taken over; None where none can."""
        ...

    def descriptor(self) -> int | None:
        """What becomes readable just before or after others commit; None if there is nothing."""
        ...

    def drain(self) -> bool:
        """Let the descriptor be quiet until the next commit; whether it was not."""
        ...

    def close(self) -> None:
        """Release what is held."""


class Addresses(Protocol):
    """Webhook addresses: secrets, which the log's rows name without containing them."""

    def keep(self, urls: Sequence[str], now_ns: int) -> dict[str, str]:
        """Save addresses durably; return what the log is to hold of each."""
        ...

    def find(self, kept: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses behind what the log holds; unknown ones are left out."""
        ...

    def forget_unused(self, since_ns: int) -> None:
        """Remove addresses that no event has named since a time."""

"""Snapshots of version 0.1.0 are read: never an error, never silently less."""

import json
import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from realm_telemetry.folds import state as state_package
from realm_telemetry.folds.metrics import (
    BUILT_IN,
    INSTRUMENTS,
    Attribute,
    Definition,
    Instrument,
    Metrics,
    metrics_runner,
)
from realm_telemetry.folds.runtime import FoldRunner, every_row
from realm_telemetry.folds.state import (
    FOLD_VERSION,
    SPECS,
    RealmState,
    fold,
    rebuild,
    state_runner,
    state_snapshots,
)
from realm_telemetry.folds.state.section import SectionSpec
from realm_telemetry.folds.state.table import Table, detail, details, time_of
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.records import limits_of
from realm_telemetry.log.sqlite.retention import Retention
from realm_telemetry.shipper.coverage import Coverage

from .golden import COVERED, HERE, KINDS, NOW_NS, events, expected

TRIMMED = 120


class Home:
    """A log with all events, and the snapshots of version 0.1.0 beside it."""

    def __init__(self, directory: Path) -> None:
        self.log_path = directory / "vault" / "jobs.db"
        self.state_path = directory / "data" / "realm_state.db"
        self.log = open_log(self.log_path)
        self.state_path.parent.mkdir()
        self.write(1, 400)
        for table, path in (
            ("realm_snapshot", self.state_path),
            ("realm_measures", directory / "data" / "realm_measures.db"),
        ):
            shutil.copy(HERE / path.name, path)
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(f"UPDATE {table} SET log_id = ?", (self.reader().log_id,))

    def write(self, first: int, last: int) -> None:
        with LogWriter(self.log_path) as writer:
            writer.append(events(last)[first - 1 :], keep_arrival=True)

    def trim(self) -> None:
        with closing(sqlite3.connect(self.log_path)) as connection, connection:
            connection.execute("DELETE FROM battle_log WHERE id <= ?", (TRIMMED,))

    def reader(self) -> LogReader:
        with LogReader(self.log_path) as reader:
            return reader

    def state(self) -> RealmState:
        with LogReader(self.log_path) as reader:
            return rebuild(reader.now, self.log)

    def metrics(self, definition: Definition | None = None, **options: bool) -> Metrics:
        with LogReader(self.log_path) as reader:
            runner = self.metrics_runner(definition, **options)
            runner.restart()
            return runner.catch_up(every_row(reader.now))

    def metrics_runner(
        self, definition: Definition | None = None, **options: bool
    ) -> FoldRunner[Metrics]:
        definition = definition or Definition()
        log_id = self.reader().log_id
        return metrics_runner(log_id, self.log, "service", definition, **options)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def folded(count: int = 400, first: int = 1) -> RealmState:
    state = RealmState()
    for cursor, event in enumerate(events(count), 1):
        if cursor >= first:
            state.apply(event, cursor)
    return state


def as_far_as(older: Any, now: Any) -> Any:
    """What is shown now without the names, none of them with a value, that are new since then."""
    if not (isinstance(older, dict) and isinstance(now, dict)):
        return now
    kept = {name for name, value in now.items() if name in older or value is not None}
    return {name: as_far_as(older.get(name), now[name]) for name in kept}


def shown(metrics: Metrics) -> dict[str, Any]:
    made = {
        each.instrument.name: [[each.attributes(key), repr(point)] for key, point in each]
        for each in metrics
    }
    return dict(json.loads(json.dumps(made)))


def test_the_events_are_of_every_kind_that_a_section_keeps() -> None:
    kept = {kind for spec in SPECS.values() for kind in spec.kinds}
    assert kept | {"section_updated"} <= {event.kind for event in events(COVERED)}
    assert set(KINDS) == {event.kind for event in events(COVERED)}


def test_the_fold_of_its_events_is_the_state_that_it_saved() -> None:
    """To the byte: a snapshot of one of the versions is a snapshot of the other."""
    with closing(sqlite3.connect(HERE / "realm_state.db")) as connection:
        [(dumped,)] = connection.execute("SELECT state FROM realm_snapshot")
    assert folded(COVERED).dump() == dumped
    assert as_far_as(expected("state"), folded(COVERED).to_dict(NOW_NS)) == expected("state")


def test_a_trimmed_log_and_its_snapshot_are_the_state_of_all_events(home: Home) -> None:
    home.trim()
    assert home.state().dump() == folded().dump()


def test_a_trimmed_log_and_its_metrics_are_those_of_all_events(home: Home) -> None:
    known = Definition(tuple(each for each in INSTRUMENTS if each.name in expected("metrics")))
    whole = home.metrics(known)
    assert whole.cursor == 400
    home.trim()
    assert shown(home.metrics(known)) == shown(whole)
    runner = home.metrics_runner(known)
    runner.restart()
    assert (runner.covered, runner.fold.cursor) == (COVERED, COVERED)
    assert shown(runner.fold) == expected("metrics")


def test_its_snapshot_covers_the_log_up_to_its_cursor(home: Home) -> None:
    coverage = Coverage(home.log_path, home.state_path)
    assert stored(home) == COVERED
    assert coverage.cursor() == 0, "the runs are not folded yet"
    while coverage.step():
        pass
    assert coverage.cursor() == 400
    coverage.close()
    home.trim()
    assert home.state().dump() == folded().dump()


NEW_TABLE = Table(
    "things",
    ("note", "job_failed"),
    {**details("name", "step"), "title": detail("title", None), "noted_at": time_of("note")},
    limit=1_000,
)


def things(section: Any, reading: Any) -> dict[str, Any]:
    return {**section.flat(), "things": dict(section.newest(NEW_TABLE)), "notes": reading.counts}


@pytest.fixture
def new_section(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version, which has a section "arena" of kinds that no section had."""
    spec = SectionSpec(("note",), (NEW_TABLE,), things)
    later_version(monkeypatch, {**SPECS, "arena": spec})


@pytest.fixture
def new_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version, which keeps further records in a section that there was."""
    jobs = msgspec.structs.replace(SPECS["jobs"], tables=(*SPECS["jobs"].tables, NEW_TABLE))
    later_version(monkeypatch, {**SPECS, "jobs": jobs})


def later_version(monkeypatch: pytest.MonkeyPatch, specs: dict[str, SectionSpec]) -> None:
    reducers = {
        kind: (name, spec.reducers(kind)) for name, spec in specs.items() for kind in spec.kinds
    }
    monkeypatch.setattr(fold, "SPECS", specs)
    monkeypatch.setattr(fold, "_REDUCERS", reducers)
    monkeypatch.setattr(fold, "FOLD_VERSION", FOLD_VERSION + 1)
    monkeypatch.setattr(state_package, "FOLD_VERSION", FOLD_VERSION + 1)


def stored(home: Home) -> int:
    return state_snapshots(home.log, home.reader().log_id).cursor()


@pytest.mark.usefixtures("new_section")
def test_a_new_section_folds_the_rows_of_a_log_that_was_never_trimmed(home: Home) -> None:
    """And has what programs reported under its name before."""
    state, whole = home.state(), folded()
    assert state.section("arena", NOW_NS)["things"] == whole.section("arena", NOW_NS)["things"]
    assert len(state.section("arena", NOW_NS)["things"]) > 5
    assert state.section("arena", NOW_NS) == whole.section("arena", NOW_NS)
    assert state.to_dict(NOW_NS) == whole.to_dict(NOW_NS)


@pytest.mark.usefixtures("new_section")
def test_a_new_section_folds_what_a_trimmed_log_has_and_the_others_keep_all(home: Home) -> None:
    home.trim()
    state = home.state()
    rest, whole = folded(first=TRIMMED + 1), folded()
    for name in SPECS:
        assert state.section(name, NOW_NS) == whole.section(name, NOW_NS)
    arena = state.section("arena", NOW_NS)
    assert arena["things"] == rest.section("arena", NOW_NS)["things"]
    assert arena["notes"]["note"] == rest.section("arena", NOW_NS)["notes"]["note"]
    # What programs reported of it is in the snapshot, and newer than the first row that is left.
    assert arena["step"] == whole.section("arena", NOW_NS)["step"]


@pytest.mark.usefixtures("new_collection")
def test_a_new_collection_folds_what_the_log_has_and_the_others_keep_all(home: Home) -> None:
    home.trim()
    state = home.state()
    rest, whole = folded(first=TRIMMED + 1), folded()
    assert state.to_dict(NOW_NS) == whole.to_dict(NOW_NS)
    kept = state._sections["jobs"].records["things"].dump()
    assert kept == rest._sections["jobs"].records["things"].dump()
    assert kept.records


@pytest.mark.usefixtures("new_section")
def test_retention_waits_until_a_new_section_has_folded_the_log(home: Home) -> None:
    """With the snapshot's own cursor it would take the rows away that the section needs."""
    coverage = Coverage(home.log_path, home.state_path)
    assert (coverage.cursor(), stored(home)) == (0, 0)
    with LogWriter(home.log_path) as writer:
        retention = Retention(writer, limits_of(0.0, None))
        assert not retention.step(coverage.cursor() + 1).removed
        while coverage.step():
            pass
        assert coverage.cursor() == stored(home) == 400
        whole = home.state().to_dict(NOW_NS)
        while retention.step(coverage.cursor() + 1).more:
            pass
    coverage.close()
    with closing(sqlite3.connect(home.log_path)) as connection:
        assert connection.execute("SELECT count(*) FROM battle_log").fetchone() == (0,)
    assert home.state().to_dict(NOW_NS) == whole == folded().to_dict(NOW_NS)


@pytest.mark.usefixtures("new_section")
def test_a_process_that_ends_while_a_section_is_filled_loses_nothing(home: Home) -> None:
    home.trim()
    with LogReader(home.log_path) as reader:
        runner = state_runner(reader.log_id, home.log)
        runner.restart()
        runner.step(every_row(reader.now), 50)
        runner.save()
    assert stored(home) == 0
    assert home.state().section("training", NOW_NS) == folded().section("training", NOW_NS)


def test_a_snapshot_of_a_newer_version_is_not_read_and_not_covered(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor replaced: what it covers may be gone."""
    with closing(sqlite3.connect(home.state_path)) as connection, connection:
        connection.execute("UPDATE realm_snapshot SET fold_version = ?", (FOLD_VERSION + 1,))
    assert home.state().dump() == folded().dump()
    coverage = Coverage(home.log_path, home.state_path)
    while coverage.step():
        pass
    assert coverage.cursor() == 0
    coverage.close()
    monkeypatch.setattr(state_package, "FOLD_VERSION", FOLD_VERSION + 1)
    assert stored(home) == COVERED


@pytest.mark.parametrize("content", [b"\xc1\xc1", b"", b"\x93\x01\x02\x03", b"null"])
def test_a_state_that_cannot_be_read_is_reported_and_folded_from_the_log(
    home: Home, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(home.state_path)) as connection, connection:
        connection.execute("UPDATE realm_snapshot SET state = ?", (content,))
    with caplog.at_level(logging.WARNING):
        assert home.state().dump() == folded().dump()
    assert "the snapshot of RealmState cannot be read" in caplog.text


def test_a_dump_of_a_newer_fold_is_refused() -> None:
    newer = msgspec.msgpack.decode(RealmState().dump())
    newer[0] = FOLD_VERSION + 1
    with pytest.raises(ValueError, match=f"version {FOLD_VERSION + 1}"):
        RealmState.load(msgspec.msgpack.encode(newer))


def test_a_change_of_what_is_kept_raises_the_version() -> None:
    """A section or collection that is new here needs a new FOLD_VERSION, or retention runs ahead.

    Mend this list together with the version.
    """
    assert FOLD_VERSION == 1
    assert {name: sorted(spec.all_limits()) for name, spec in SPECS.items()} == {
        "training": ["best", "runs"],
        "jobs": ["jobs"],
        "workers": ["further", "heard", "lost", "workers"],
        "eval": ["latest", "results", "suites"],
        "checkpoints": ["best", "checkpoints"],
        "data": ["batches", "curriculum", "datasets"],
        "guild": ["achievements", "heroes", "lore", "milestones", "skills", "titles"],
        "vault": ["archived"],
        "system": ["errors", "services", "warnings"],
        "queue": [],
    }


GAUGE = Instrument(
    "lab.depth", "gauge", "Depth.", "", ("queue_backlog",), "depth", (Attribute("a", "run_id"),)
)
WITH_GAUGE = Definition((*BUILT_IN, GAUGE))
WITH_OTHER_GAUGE = Definition((*BUILT_IN, msgspec.structs.replace(GAUGE, detail="entries")))


@pytest.fixture
def saved_by_this_version(home: Home) -> Home:
    runner = home.metrics_runner(WITH_GAUGE)
    with LogReader(home.log_path) as reader:
        runner.restart()
        runner.catch_up(every_row(reader.now))
        runner.save()
    home.write(401, 420)
    home.trim()
    return home


def test_a_metric_that_version_0_1_0_did_not_have_folds_what_the_log_has(home: Home) -> None:
    """The others go on from its snapshot."""
    home.trim()
    metrics, rest, whole = home.metrics(WITH_GAUGE), Metrics(WITH_GAUGE), Metrics(WITH_GAUGE)
    for cursor, event in enumerate(events(400), 1):
        whole.apply(event, cursor)
        if cursor > TRIMMED:
            rest.apply(event, cursor)
    for series in metrics:
        wanted = rest if series.instrument is GAUGE else whole
        assert repr(list(series)) == repr(list(wanted[series.instrument.name]))


@pytest.mark.parametrize("definition", [WITH_OTHER_GAUGE, Definition()])
def test_a_changed_metric_folds_what_the_log_has_and_the_others_keep_all(
    saved_by_this_version: Home, definition: Definition
) -> None:
    home = saved_by_this_version
    metrics = home.metrics(definition)
    whole = Metrics(WITH_GAUGE)
    rest = Metrics(definition)
    for cursor, event in enumerate(events(420), 1):
        whole.apply(event, cursor)
        if cursor > TRIMMED:
            rest.apply(event, cursor)
    changed = {"lab.depth"} if definition is WITH_OTHER_GAUGE else set()
    for series in metrics:
        name = series.instrument.name
        wanted = rest if name in changed else whole
        assert repr(list(series)) == repr(list(wanted[name]))
    assert metrics.cursor == 420


def test_a_changed_metric_of_an_exporter_begins_in_the_present(
    saved_by_this_version: Home,
) -> None:
    """Its counters have a start, and what is older does not belong to them."""
    metrics = saved_by_this_version.metrics(WITH_OTHER_GAUGE, refill=False)
    rest = Metrics(WITH_OTHER_GAUGE)
    for cursor, event in enumerate(events(420), 1):
        if cursor > 400:
            rest.apply(event, cursor)
    assert list(metrics["lab.depth"]) == list(rest["lab.depth"])
    assert metrics["realm.events"].points != rest["realm.events"].points


def test_metrics_of_another_limit_are_counted_again(
    saved_by_this_version: Home, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = saved_by_this_version.metrics(Definition(max_series=9))
    assert all(len(series.points) < 9 for series in metrics)
    assert "a dump of other instruments" in caplog.text

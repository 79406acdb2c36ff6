"""A log that only a shipper looks after."""

import time

from realm_telemetry.folds.state import RealmState, rebuild, state_snapshots
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.snapshots import FoldSnapshot
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.upkeep import UpkeepClaim
from realm_telemetry.shipper import upkeep
from realm_telemetry.shipper.coverage import Coverage
from realm_telemetry.shipper.upkeep import limits_at

TWO_SECONDS = 2 / 86_400


def keep_for(lab, days: float) -> None:
    (lab.home / "realm.toml").write_text(f"[service]\nretention_days = {days:.9f}\n")


def fill(lab, count: int = 1_200):
    producer = lab.producer()
    producer.emit_many(count)
    return producer


def test_a_log_over_its_limits_is_trimmed_by_a_shipper_alone_once_a_snapshot_covers_it(
    lab, eventually, monkeypatch
):
    monkeypatch.setattr(upkeep, "INTERVAL_S", 0.1)
    keep_for(lab, TWO_SECONDS)
    producer = fill(lab)
    lab.start()
    eventually(lambda: producer.writer.control.stored_number == 1_200)
    with LogReader(lab.log_path) as reader:
        whole = rebuild(reader.now)
        eventually(lambda: reader.now.min_cursor() == 1_200)
        assert reader.now.max_cursor() == reader.now.runs_mark().cursor == 1_200
        kept = state_snapshots(open_log(lab.log_path), reader.log_id).load()
        search = SearchIndex(lab.log_path, lab.home / "vault" / "search.db")
        assert search.indexed_through(reader.log_id) == 1_200
    assert kept is not None
    assert kept.content == whole.dump()
    producer.end()


def test_while_a_service_does_the_upkeep_a_shipper_does_none(lab, eventually):
    keep_for(lab, TWO_SECONDS / 1000)
    with LogWriter(lab.log_path) as log:
        UpkeepClaim("service", first=True).hold(log)
    producer = fill(lab, 10)
    lab.start()
    eventually(lambda: producer.writer.control.stored_number == 10)
    time.sleep(1.5)
    assert len(lab.rows()) == 10
    assert not (lab.home / "vault" / "search.db").exists()
    producer.end()


def test_where_nothing_is_to_be_trimmed_no_state_is_folded(lab, eventually):
    producer = fill(lab, 10)
    lab.start()
    eventually(lambda: (lab.home / "vault" / "search.db").exists())
    time.sleep(0.2)
    assert not (lab.home / "data").exists()
    producer.end()


def test_broken_settings_trim_nothing_and_are_reported(lab, eventually):
    producer = fill(lab, 10)
    (lab.home / "realm.toml").write_text("[service]\nretention_days = 'soon'\n")
    lab.start()
    eventually(lambda: "upkeep of the log failed" in lab.log_text())
    assert "retention_days" in lab.log_text()
    assert len(lab.rows()) == 10
    producer.end()


def test_the_limits_are_those_of_the_service(tmp_path):
    assert limits_at(str(tmp_path)).max_age_ns == 30 * 86_400 * 10**9
    (tmp_path / "realm.toml").write_text("[service]\nport = 9\nretention_bytes = 5\n")
    assert limits_at(str(tmp_path)).max_bytes == 5


def test_a_snapshot_that_goes_further_is_not_replaced(lab):
    producer = fill(lab, 10)
    producer.end()
    lab.ship()
    path = lab.home / "state.db"
    coverage = Coverage(lab.log_path, path)
    assert coverage.step()
    assert coverage.cursor() == 10
    with LogReader(lab.log_path) as reader:
        saved = state_snapshots(open_log(lab.log_path, state_path=path), reader.log_id)
        assert saved.save(FoldSnapshot(0, RealmState().dump())) == 10
    coverage.close()

"""Opening a log by its place, and what it says of itself."""

from pathlib import Path

import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.engine import ENGINES, Log, Writer, open_log
from realm_telemetry.log.errors import LogUnavailableError

from .conftest import UNDER_TEST, make_event


def test_every_registered_engine_is_tested() -> None:
    assert set(UNDER_TEST) == set(ENGINES)


def test_a_path_and_a_url_open_the_same_log(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with open_log(path).writer() as writer:
        writer.append([make_event(1)])
    with open_log(f"sqlite://{path}").reader() as reader:
        assert reader.log_id == writer.log_id


def test_a_url_of_no_engine_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no engine serves mysql://.*sqlite://"):
        open_log("mysql://host/realm")


def test_nothing_is_made_before_it_is_used(log: Log) -> None:
    assert not log.exists()
    assert log.identity() is None
    with pytest.raises(LogUnavailableError, match="there is no log"):
        log.reader()
    assert not log.exists()


def test_a_log_is_described(log: Log, writer: Writer) -> None:
    writer.append([make_event(1)])
    found = log.describe()
    assert found.place == log.place
    assert found.size_bytes > 0
    assert found.is_current
    assert log.integrity(10.0) == []
    log.check_writable(1.0)


def test_a_log_keeps_its_identity(log: Log, writer: Writer) -> None:
    before = log.identity()
    writer.append([make_event(1)])
    assert before is not None
    assert log.identity() == before

"""The log as a follower reads it: the resources of producers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from realm_telemetry.delivery.sources import RETRY_S, PipelineLog, Recent
from realm_telemetry.log import LogWriter, ProducerInfo
from realm_telemetry.testing import FakeClock

ONE, OTHER = "11" * 8, "22" * 8


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogWriter]:
    with LogWriter(tmp_path / "jobs.db") as writer:
        yield writer


@pytest.fixture
def source(tmp_path: Path, log: LogWriter, clock: FakeClock) -> Iterator[PipelineLog]:
    made = PipelineLog(tmp_path / "jobs.db", "p", Recent(), clock.monotonic)
    yield made
    made.close()


def test_a_producer_that_becomes_known_later_is_looked_up_again(
    source: PipelineLog, log: LogWriter, clock: FakeClock
) -> None:
    """At most every RETRY_S: events go without a resource meanwhile."""
    assert source.resource(ONE) == {}
    log.register_producer(ProducerInfo(ONE, "p"))
    clock.advance(RETRY_S)
    assert source.resource(ONE) == {}
    log.register_producer(ProducerInfo(ONE, "p", {"service.name": "trainer"}))
    clock.advance(RETRY_S - 0.1)
    assert source.resource(ONE) == {}
    clock.advance(0.1)
    assert source.resource(ONE) == {"service.name": "trainer"}


def test_a_new_producer_is_looked_up_at_once(source: PipelineLog, log: LogWriter) -> None:
    log.register_producer(ProducerInfo(ONE, "p", {"rank": 1}))
    assert source.resource(ONE) == {"rank": 1}
    log.register_producer(ProducerInfo(OTHER, "p", {"rank": 2}))
    assert source.resource(OTHER) == {"rank": 2}

"""What the log knows of producers, asked as seldom as possible."""

from pathlib import Path

from realm_exporter_otlp.resources import RETRY_S, Resources

from realm_telemetry.log import LogWriter
from realm_telemetry.log.records import ProducerInfo

ONE, OTHER = "11" * 8, "22" * 8


def test_a_producer_that_becomes_known_later_is_asked_for_again(tmp_path: Path) -> None:
    """Once in a while: events go without meanwhile."""
    path = tmp_path / "jobs.db"
    resources = Resources(path)
    assert resources.of(ONE, 0.0) == {}
    with LogWriter(path) as log:
        log.register_producer(ProducerInfo(ONE, "p"))
        assert resources.of(ONE, RETRY_S) == {}
        log.register_producer(ProducerInfo(ONE, "p", {"service.name": "trainer"}))
    assert resources.of(ONE, 2 * RETRY_S - 0.1) == {}
    assert resources.of(ONE, 2 * RETRY_S) == {"service.name": "trainer"}


def test_a_new_producer_is_asked_for_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    resources = Resources(path)
    with LogWriter(path) as log:
        log.register_producer(ProducerInfo(ONE, "p", {"rank": 1}))
        assert resources.of(ONE, 0.0) == {"rank": 1}
        log.register_producer(ProducerInfo(OTHER, "p", {"rank": 2}))
        assert resources.of(OTHER, 0.0) == {"rank": 2}


def test_without_a_log_nothing_is_known() -> None:
    assert Resources(None).of(ONE, 0.0) == {}

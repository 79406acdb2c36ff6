"""What a program logs with structlog becomes events, and goes on as it was."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from realm_telemetry.integrations.structlog import RealmProcessor

from .conftest import Spooled


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(*processors: Any, **options: Any) -> list[Any]:
    """A real structlog chain with our processor; what comes out at its end."""
    printed: list[Any] = []

    def end(logger: Any, name: str, event_dict: Any) -> Any:
        printed.append(dict(event_dict))
        raise structlog.DropEvent

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *processors,
            RealmProcessor(**options),
            end,
        ]
    )
    return printed


def test_an_event_dict_becomes_an_event_and_goes_on(spooled: Spooled) -> None:
    printed = configured()
    structlog.contextvars.bind_contextvars(run="r7")
    structlog.get_logger().bind(hero="dio").warning("slow step", step=3, shape=(2, 3))
    (event,) = spooled()
    assert (event.kind, event.message) == ("log_record", "slow step")
    assert (event.channel, event.severity) == ("system", "warning")
    assert event.details == {"run": "r7", "hero": "dio", "step": 3, "shape": [2, 3]}
    assert printed == [
        {
            "event": "slow step",
            "level": "warning",
            "run": "r7",
            "hero": "dio",
            "step": 3,
            "shape": (2, 3),
        }
    ]


@pytest.mark.parametrize(
    ("method", "channel", "severity"),
    [
        ("debug", "debug", "info"),
        ("info", "system", "info"),
        ("warning", "system", "warning"),
        ("error", "system", "error"),
        ("critical", "system", "error"),
    ],
)
def test_the_level_is_the_severity(
    method: str, channel: str, severity: str, spooled: Spooled
) -> None:
    configured()
    getattr(structlog.get_logger(), method)("x")
    (event,) = spooled()
    assert (event.channel, event.severity) == (channel, severity)


def test_an_event_named_as_a_kind_is_one(spooled: Spooled) -> None:
    """With the kind's channel, severity and message; a warning is more than its success."""
    configured()
    structlog.get_logger().info("checkpoint_saved", step=7, loss=0.5, path="ckpt/7")
    structlog.get_logger().warning("checkpoint_saved", step=8)
    first, second = spooled()
    assert (first.kind, first.channel, first.severity) == (
        "checkpoint_saved",
        "checkpoint",
        "success",
    )
    assert first.message == "Checkpoint 7 saved (loss: 0.5000)"
    assert second.severity == "warning"


def test_an_exception_is_kept_as_details(spooled: Spooled) -> None:
    """Given as True, as itself, or as the triple."""
    configured()
    log = structlog.get_logger()
    error = ValueError("bad lr")
    try:
        raise error
    except ValueError:
        log.exception("failed")
        log.error("failed", exc_info=error)
        log.error("failed", exc_info=(ValueError, error, error.__traceback__))
    log.error("nothing", exc_info=True)
    events = spooled()
    for event in events[:3]:
        assert event.details["exception.type"] == "ValueError"
        assert event.details["exception.message"] == "bad lr"
        assert "exc_info" not in event.details
    assert "exception.type" not in events[3].details


def test_level_and_logger_filter(spooled: Spooled) -> None:
    printed = configured(level="WARNING", exclude=["noisy"])
    log = structlog.get_logger()
    log.info("low")
    log.error("loud", logger="noisy.part")
    log.error("heard", logger="lab")
    assert [(event.message, event.source) for event in spooled()] == [("heard", "lab")]
    assert len(printed) == 3


def test_it_fits_a_chain_that_ends_in_logging(
    spooled: Spooled, caplog: pytest.LogCaptureFixture
) -> None:
    """structlog over the standard library: the logger's name is the source."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            RealmProcessor(),
            structlog.processors.KeyValueRenderer(),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    with caplog.at_level(logging.INFO):
        structlog.get_logger("lab.eval").info("done", score=0.9)
    (event,) = spooled()
    assert (event.source, event.details) == ("lab.eval", {"score": 0.9})
    assert "score=0.9" in caplog.text


def test_an_event_that_is_no_text_is_shown(spooled: Spooled) -> None:
    configured()
    structlog.get_logger().info(7)
    structlog.get_logger().info(None)
    assert [event.message for event in spooled()] == ["7", "None"]

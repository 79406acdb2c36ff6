"""A bridge never raises into the program, and never loses a record, whatever is logged."""

import collections
import logging
import logging.config
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from omegaconf import OmegaConf

from realm_telemetry.integrations.logging import RealmHandler, install
from realm_telemetry.integrations.structlog import RealmProcessor

from .conftest import Spooled

LOG = logging.getLogger("lab.odd")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    LOG.setLevel(1)
    yield
    LOG.propagate = True


def bridged() -> RealmHandler:
    """Install the bridge; pytest's own handler, which would show records and raise, hears none."""
    handler = install()
    LOG.propagate = False
    return handler


class Panic(BaseException):
    """As Rust code raises through PyO3."""


class NoText:
    def __init__(self, error: type[BaseException] = RuntimeError) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error("no text")

    __repr__ = __str__


class NoTextError(Exception):
    def __str__(self) -> str:
        raise Panic("no text")


class BrokenCauseError(Exception):
    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        raise Panic("no cause")


def cyclic() -> BaseException:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        NoTextError(),
        BrokenCauseError("shown"),
        cyclic(),
        ExceptionGroup("many", [ValueError("a"), NoTextError()]),
        Panic("a panic"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
        KeyError("\ud800"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_is_a_detail(error: BaseException, spooled: Spooled) -> None:
    bridged()
    LOG.error("failed", exc_info=raised(error))
    (event,) = spooled()
    assert event.message == "failed"
    assert str(event.details["exception.type"]).endswith(type(error).__name__)
    assert event.details["exception.message"]
    assert event.details["exception.stacktrace"]


ODD_TRIPLES = [(), (None, None, None), (ValueError,), (ValueError, None, None), ("a", "b", "c")]


@pytest.mark.parametrize("exc_info", [*ODD_TRIPLES, "yes", 7, [1]], ids=str)
def test_any_exc_info_is_taken(exc_info: Any, spooled: Spooled) -> None:
    record = LOG.makeRecord(LOG.name, 40, "x.py", 1, "failed", (), None)
    record.exc_info = exc_info
    RealmHandler().handle(record)
    RealmProcessor()(None, "error", {"event": "failed", "exc_info": exc_info})
    events = spooled()
    assert [event.message for event in events] == ["failed", "failed"]
    named = exc_info in [(ValueError,), (ValueError, None, None)]
    assert ["exception.type" in event.details for event in events] == [named, named]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"msg": "told", "loss": 0.5}, "told"),
        ({"message": "told", "msg": "no"}, "told"),
        (collections.UserDict({"event": "told"}), "told"),
        (OmegaConf.create({"message": "told"}), "told"),
        ({"message": 7}, '{"message":7}'),
        ({"lone": "\ud800"}, '{"lone":"\N{REPLACEMENT CHARACTER}"}'),
        (["a", 1], '["a",1]'),
        (7, "7"),
    ],
    ids=str,
)
def test_a_message_that_is_no_text_is_kept_as_it_is(
    message: Any, shown: str, spooled: Spooled
) -> None:
    bridged()
    LOG.info(message)
    (event,) = spooled()
    assert event.message == shown
    assert event.details["otel.body"] is not None


@pytest.mark.parametrize("error", [RuntimeError, Panic, RecursionError, GeneratorExit])
def test_a_message_that_cannot_be_shown_is_named(
    error: type[BaseException], spooled: Spooled
) -> None:
    bridged()
    LOG.info(NoText(error))
    LOG.info("%s of %s", NoText(error), 8)
    LOG.info({"bad": NoText(error), "good": 1})
    first, second, third = spooled()
    assert first.message == "<NoText that cannot be shown>"
    assert second.message == "%s of %s"
    assert second.details["log.args"] == ["<NoText that cannot be shown>", 8]
    assert third.details["otel.body"] == {"bad": "<NoText that cannot be shown>", "good": 1}


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_program_is_not_stopped(ending: type[BaseException]) -> None:
    """A signal's handler may run while a value is shown; what it raises is for the program."""
    bridged()
    with pytest.raises(ending):
        LOG.info(NoText(ending))


def test_what_structlog_hands_to_logging_is_its_event(spooled: Spooled) -> None:
    bridged()
    structlog.configure(
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        structlog.get_logger(LOG.name).error("failed", step=3, exc_info=ValueError("bad"))
    finally:
        structlog.reset_defaults()
    (event,) = spooled()
    assert event.message == "failed"
    assert event.details["otel.body"]["step"] == 3
    assert event.details["exception.message"] == "bad"
    assert not {"_logger", "_name"} & set(event.details)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"name": 7},
        {"name": ["x"]},
        {"levelno": "high"},
        {"levelno": None},
        {"created": None},
        {"created": float("nan")},
        {"created": 1e300},
        {"created": -1.0},
        {"threadName": 7},
        {"pathname": NoText(), "lineno": "x", "funcName": NoText()},
        {"args": 7},
        {"args": {"a": NoText()}},
        {"stack_info": NoText()},
        {"levelname": NoText()},
        {"extra": NoText()},
    ],
    ids=lambda fields: ",".join(fields),
)
def test_a_record_of_wrong_types_is_an_event(fields: dict[str, Any], spooled: Spooled) -> None:
    record = LOG.makeRecord(LOG.name, 30, "x.py", 1, "odd", (), None)
    vars(record).update(fields)
    bridged()
    LOG.handle(record)
    (event,) = spooled()
    assert event.message == "odd"


def test_a_record_that_lacks_everything_is_an_event(spooled: Spooled) -> None:
    record = LOG.makeRecord(LOG.name, 30, "x.py", 1, "odd", (), None)
    vars(record).clear()
    record.msg = "odd"
    RealmHandler().handle(record)
    assert [event.message for event in spooled()] == ["odd"]


def test_extra_keeps_what_has_the_name_of_a_detail_of_ours(spooled: Spooled) -> None:
    bridged()
    LOG.info("x", extra={"code.line.number": "mine", "kind": "k", "severity": "s", "7": "seven"})
    (event,) = spooled()
    assert event.details["attributes.code.line.number"] == "mine"
    assert isinstance(event.details["code.line.number"], int)
    assert (event.details["kind"], event.details["severity"]) == ("k", "s")
    assert event.details["7"] == "seven"


def test_a_value_that_logs_itself_ends(spooled: Spooled) -> None:
    class Endless:
        def __str__(self) -> str:
            LOG.info(self)
            return "endless"

    bridged()
    LOG.info(Endless())
    events = spooled()
    assert len(events) == 9
    assert [event.message for event in events] == ["<Endless that cannot be shown>"] + [
        "endless"
    ] * 8


def test_a_filter_that_raises_loses_nothing(spooled: Spooled) -> None:
    handler = bridged()
    handler.addFilter(lambda record: bool(1 // 0))
    LOG.info("kept")
    assert [event.message for event in spooled()] == ["kept"]


def test_a_handler_of_the_program_that_raises_loses_nothing(spooled: Spooled) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RecursionError

    bridged()
    LOG.addHandler(Raising())
    try:
        with pytest.raises(RecursionError):
            LOG.info("kept")
    finally:
        LOG.handlers.clear()
    assert [event.message for event in spooled()] == ["kept"]


class TestConfiguredAfterwards:
    """Programs and frameworks configure `logging` after a library was set up."""

    @pytest.fixture(autouse=True)
    def root_as_it_was(self) -> Iterator[None]:
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        LOG.propagate = True
        yield
        root.handlers[:] = before
        root.setLevel(level)

    @pytest.mark.parametrize(
        "name",
        ["dict_config", "file_config", "basic_config", "clear", "no_propagation", "shut_down"],
    )
    def test_later_records_are_events(self, name: str, spooled: Spooled, tmp_path: Path) -> None:
        install(level="INFO")
        getattr(self, name)(tmp_path)
        LOG.warning("after")
        assert [event.message for event in spooled()] == ["after"]

    @staticmethod
    def dict_config(_: Path) -> None:
        root = {"level": "INFO", "handlers": []}
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": root})

    @staticmethod
    def file_config(directory: Path) -> None:
        path = directory / "logging.ini"
        path.write_text(
            "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n"
            "[logger_root]\nlevel=INFO\nhandlers=h\n"
            "[handler_h]\nclass=NullHandler\nargs=()\n"
        )
        logging.config.fileConfig(path, disable_existing_loggers=False)

    @staticmethod
    def basic_config(_: Path) -> None:
        logging.basicConfig(force=True, handlers=[logging.NullHandler()])

    @staticmethod
    def clear(_: Path) -> None:
        logging.getLogger().handlers.clear()

    @staticmethod
    def no_propagation(_: Path) -> None:
        LOG.propagate = False

    @staticmethod
    def shut_down(_: Path) -> None:
        logging.shutdown([])


def test_structlog_goes_on_whatever_an_event_holds(spooled: Spooled) -> None:
    processor = RealmProcessor()
    odd: list[Any] = [
        {"event": NoText(), "x": 1},
        {"event": "ok", "level": NoText()},
        {"event": "ok", "logger": NoText()},
        {"event": "ok", "exc_info": NoText()},
        {"event": "ok", 7: 8, NoText(): 9},
        "a text",
        (("args",), {}),
    ]
    for event_dict in odd:
        assert processor(None, "info", event_dict) is event_dict
    assert len(spooled()) == len(odd)


@pytest.mark.processes
def test_records_at_the_very_end_and_in_children_are_kept(tmp_path: Path) -> None:
    """In a function that atexit calls after ours, in a forked child, in a signal's handler."""
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, logging, os, signal\n"
        "import realm_telemetry as realm\n"
        "from realm_telemetry.integrations import logging as bridge\n"
        "log = logging.getLogger('lab')\n"
        "atexit.register(lambda: log.warning('at exit'))\n"
        "realm.configure(service_name='x', exporters=['battle_log'])\n"
        "bridge.install()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: log.warning('in a handler'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "if not os.fork():\n"
        "    log.warning('in a child')\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    environment = dict(os.environ, REALM_HOME=str(tmp_path / "home"))
    run = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    realm_command = str(Path(sys.executable).with_name("realm"))
    for arguments in (["ship", "--once"], ["query", "--jsonl"]):
        done = subprocess.run(
            [realm_command, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
    for message in ("at exit", "in a handler", "in a child"):
        assert message in done.stdout, run.stderr

"""What the standard library's `logging` records becomes events."""

import contextlib
import io
import logging
import logging.config
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

import realm_telemetry as realm
from realm_telemetry.integrations import logging as realm_logging
from realm_telemetry.integrations.logging import THREAD_PREFIX, RealmHandler, install, uninstall
from realm_telemetry.otel import from_log_record

from .conftest import Spooled

LOG = logging.getLogger("lab.train")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def every_level() -> Iterator[None]:
    logging.getLogger().setLevel(logging.NOTSET + 1)
    yield
    LOG.propagate, LOG.disabled = True, False


def test_a_record_becomes_an_event(spooled: Spooled) -> None:
    """Message, source, severity, channel, time, place in the code and `extra`."""
    install()
    LOG.info("step %d of %d", 7, 9, extra={"loss": 0.25, "tags": ("a", "b")})
    (event,) = spooled()
    assert (event.kind, event.message, event.source) == ("log_record", "step 7 of 9", "lab.train")
    assert (event.channel, event.severity) == ("system", "info")
    assert event.details["loss"] == 0.25
    assert event.details["tags"] == ["a", "b"]
    assert event.details["code.function.name"] == "test_a_record_becomes_an_event"
    assert str(event.details["code.file.path"]).endswith("test_logging.py")
    assert set(event.details) == {
        "loss",
        "tags",
        "code.file.path",
        "code.function.name",
        "code.line.number",
    }


@pytest.mark.parametrize(
    ("level", "channel", "severity"),
    [
        (1, "debug", "info"),
        (logging.DEBUG, "debug", "info"),
        (19, "debug", "info"),
        (logging.INFO, "system", "info"),
        (29, "system", "info"),
        (logging.WARNING, "system", "warning"),
        (39, "system", "warning"),
        (logging.ERROR, "system", "error"),
        (logging.CRITICAL, "system", "error"),
        (99, "system", "error"),
    ],
)
def test_the_level_is_the_severity(
    level: int, channel: str, severity: str, spooled: Spooled
) -> None:
    install()
    LOG.log(level, "x")
    (event,) = spooled()
    assert (event.channel, event.severity) == (channel, severity)


@pytest.mark.parametrize("beside", [False, True])
def test_a_record_is_taken_where_handlers_enter_their_lock(
    beside: bool, spooled: Spooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Python 3.13 and later, where `Handler.handle` says `with self.lock`; ours has none."""

    def handle(self: logging.Handler, record: logging.LogRecord) -> bool:
        with self.lock:  # type: ignore[union-attr]
            self.emit(record)
        return True

    monkeypatch.setattr(logging.Handler, "handle", handle)
    install(beside=beside)
    LOG.info("step 7")
    assert [event.message for event in spooled()] == ["step 7"]


def test_a_filter_of_the_handler_is_asked(spooled: Spooled) -> None:
    handler = install()
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    LOG.info("a secret")
    LOG.info("a word")
    assert [event.message for event in spooled()] == ["a word"]


def through_opentelemetry(record: logging.LogRecord) -> realm.Event:
    """The same record through OpenTelemetry's handler and our table read backwards."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated since SDK 1.42, for another package
        LoggingHandler(logger_provider=provider).emit(record)
    (exported,) = exporter.get_finished_logs()
    return from_log_record(exported)


@pytest.mark.parametrize("level", [10, 11, 15, 20, 21, 25, 30, 35, 40, 41, 50, 53, 54, 60])
def test_it_is_the_event_that_opentelemetry_brings(level: int, spooled: Spooled) -> None:
    """Whichever way a record takes, queries find it by the same names."""
    record = LOG.makeRecord(
        LOG.name, level, "train.py", 7, "loss %.1f", (0.5,), None, "step", {"epoch": 3}
    )
    RealmHandler().handle(record)
    (ours,) = spooled()
    theirs = through_opentelemetry(record)
    # When its handler saw the record; ours emits at once.
    theirs.details.pop("otel.observed_time_unix_nano")
    for name in ("kind", "channel", "severity", "message", "source", "details", "time_unix_nano"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_an_exception_is_kept_as_details(spooled: Spooled) -> None:
    install()
    try:
        raise ConnectionResetError("by peer")
    except ConnectionResetError:
        LOG.exception("upload failed", stack_info=True)
    (event,) = spooled()
    assert event.message == "upload failed"
    assert event.details["exception.type"] == "ConnectionResetError"
    assert event.details["exception.message"] == "by peer"
    assert str(event.details["exception.stacktrace"]).startswith("Traceback")
    assert "test_logging" in str(event.details["code.stacktrace"])


def test_exc_info_without_an_exception_is_no_detail(spooled: Spooled) -> None:
    install()
    LOG.info("fine", exc_info=True)
    assert "exception.type" not in spooled()[0].details


def test_below_the_level_nothing_is_taken(spooled: Spooled) -> None:
    install(level="WARNING")
    LOG.info("no")
    LOG.warning("yes")
    assert [event.message for event in spooled()] == ["yes"]


def test_only_the_named_loggers_are_heard(spooled: Spooled) -> None:
    """With all below them, once, even where one does not propagate."""
    install(loggers=["lab", "lab.train", "other"])
    LOG.propagate = True
    for name in ("lab", "lab.train", "lab.train.deep", "laboratory", "another"):
        logging.getLogger(name).error(name)
    assert [event.source for event in spooled()] == ["lab", "lab.train", "lab.train.deep"]


def test_excluded_loggers_are_not_heard(spooled: Spooled) -> None:
    install(exclude=["lab.train"])
    for name in ("lab", "lab.train", "lab.train.deep", "lab.training"):
        logging.getLogger(name).error(name)
    assert [event.source for event in spooled()] == ["lab", "lab.training"]


@pytest.mark.parametrize(
    "name",
    [
        "realm_telemetry.otel.adapter",
        "realm_exporter_realm_service.client",
        "opentelemetry.sdk._logs",
        "httpx",
        "httpcore.connection",
    ],
)
def test_what_delivering_logs_brings_forth_no_event(name: str, spooled: Spooled) -> None:
    install()
    logging.getLogger(name).error("again and again")
    LOG.error("end")
    assert [event.message for event in spooled()] == ["end"]


def test_what_a_thread_of_ours_logs_brings_forth_no_event(spooled: Spooled) -> None:
    """Whatever library an exporter uses there."""
    install()
    thread = threading.Thread(target=lambda: LOG.error("urllib3"), name="realm-telemetry-otlp")
    thread.start()
    thread.join()
    assert spooled() == []


@pytest.mark.parametrize("propagates", [True, False])
def test_a_named_logger_below_another_is_heard_once(propagates: bool, spooled: Spooled) -> None:
    LOG.propagate = propagates
    install(loggers=["lab", "lab.train"])
    LOG.info("below")
    logging.getLogger("lab").info("above")
    assert [event.message for event in spooled()] == ["below", "above"]
    uninstall()
    assert LOG.handlers == logging.getLogger("lab").handlers == []


def test_what_a_thread_of_the_program_logs_is_heard_whatever_its_name(spooled: Spooled) -> None:
    install()
    thread = threading.Thread(target=lambda: LOG.info("step 7"), name="realm-worker-1")
    thread.start()
    thread.join()
    assert [event.message for event in spooled()] == ["step 7"]


def test_all_threads_of_ours_are_known_by_their_names() -> None:
    """Those that deliver: the demo's and the tests' are programs like any other."""
    sources = [
        path
        for top in (Path("realm_telemetry"), Path("exporters"))
        for path in (ROOT / top).rglob("*.py")
        if not {"demo", "testing"} & set(path.parts)
    ]
    named = [
        name
        for path in sources
        for name in re.findall(
            r'(?:Thread\([^)]*\bname=f?|thread_name_prefix=|THREAD_NAME: Final = )"([^"]*)"',
            path.read_text(),
        )
    ]
    assert len(named) > 10
    assert [name for name in named if not name.startswith(THREAD_PREFIX)] == []


def test_a_second_install_replaces_the_first(spooled: Spooled) -> None:
    install()
    install(level="ERROR")
    LOG.warning("no")
    LOG.error("once")
    assert [event.message for event in spooled()] == ["once"]
    assert realm_logging.installed() in logging.getLogger().handlers
    uninstall()
    LOG.error("no more")
    uninstall()
    assert len(spooled()) == 1
    assert realm_logging.installed() is None


def test_an_argument_that_logs_itself_does_not_hang(spooled: Spooled) -> None:
    class Chatty:
        def __str__(self) -> str:
            LOG.debug("inside")
            return "chatty"

    install(loggers=[LOG.name])
    LOG.propagate = False  # pytest's handler would ask for the text too
    LOG.info("%s", Chatty())
    assert [event.message for event in spooled()] == ["inside", "chatty"]


def test_a_bad_call_is_reported_as_logging_does(
    spooled: Spooled, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record is lost, as with any handler; the program goes on."""
    install(loggers=[LOG.name])
    LOG.propagate = False  # pytest's handler would raise
    LOG.info("%d", "seven")
    assert "Logging error" in capsys.readouterr().err
    assert spooled() == []


def test_any_extra_is_a_detail_or_cut(spooled: Spooled) -> None:
    install()
    LOG.info("odd", extra={"": 1, "lone": "\ud800", "huge": "x" * 100_000, "f": float("nan")})
    (event,) = spooled()
    assert event.details["f"] == "NaN"
    assert event.details["realm.truncated"] == ["huge"]


def test_context_that_is_bound_is_on_records_too(spooled: Spooled) -> None:
    install()
    with realm.bound(hero_id="dio", run_id="r7", epoch=3):
        LOG.info("inside")
    (event,) = spooled()
    assert (event.hero_id, event.run_id, event.details["epoch"]) == ("dio", "r7", 3)


def test_dict_config_can_name_the_handler(spooled: Spooled) -> None:
    handler = {"class": "realm_telemetry.integrations.logging.RealmHandler", "level": "INFO"}
    logger = {"handlers": ["realm"], "level": "DEBUG"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"realm": handler},
            "loggers": {"lab.configured": logger},
        }
    )
    logging.getLogger("lab.configured").info("from a file")
    logging.getLogger("lab.configured").handlers.clear()
    assert [event.message for event in spooled()] == ["from a file"]


class TestBeside:
    """Hooked in without a handler: what the program does with `logging` stays as it was."""

    def test_records_are_heard(self, spooled: Spooled) -> None:
        """Those of loggers that do not propagate, too; none below a logger's own level."""
        install(beside=True)
        LOG.propagate = False
        LOG.info("heard")
        LOG.setLevel("ERROR")
        LOG.info("not heard")
        LOG.setLevel(logging.NOTSET)
        assert [event.message for event in spooled()] == ["heard"]

    def test_basic_config_still_configures(self, spooled: Spooled) -> None:
        """With a handler of ours on the root logger it would do nothing."""
        root = logging.getLogger()
        before = root.handlers[:]
        root.handlers.clear()
        stream = io.StringIO()
        try:
            install(beside=True)
            logging.basicConfig(stream=stream, level=logging.INFO)
            LOG.info("shown")
        finally:
            root.handlers[:] = before
        assert "shown" in stream.getvalue()
        assert len(spooled()) == 1

    def test_a_program_without_handlers_still_prints_warnings(
        self, spooled: Spooled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = logging.getLogger()
        before = root.handlers[:]
        root.handlers.clear()
        stream = io.StringIO()
        monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(stream))
        try:
            install(beside=True)
            LOG.warning("printed")
        finally:
            root.handlers[:] = before
        assert stream.getvalue() == "printed\n"

    def test_a_program_that_installs_the_handler_itself_is_heard_once(
        self, spooled: Spooled
    ) -> None:
        install(beside=True)
        install()
        LOG.info("once")
        assert len(spooled()) == 1

    def test_a_hook_on_top_of_ours_stays(self, spooled: Spooled) -> None:
        """Taking ours away must not take another library's."""
        install(beside=True)
        ours: Any = logging.Logger.callHandlers
        heard = []

        def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())
            ours(self, record)

        with contextlib.ExitStack() as stack:
            patch = pytest.MonkeyPatch()
            stack.callback(patch.undo)
            patch.setattr(logging.Logger, "callHandlers", theirs)
            uninstall()
            LOG.info("x")
        assert heard == ["x"]
        assert spooled() == []
        logging.Logger.callHandlers = ORIGINAL  # type: ignore[method-assign]


ORIGINAL = logging.Logger.callHandlers


def test_the_bridges_import_no_opentelemetry() -> None:
    """A program that only logs pays for nothing else."""
    code = (
        "import sys, realm_telemetry\n"
        "from realm_telemetry.integrations import logging, structlog\n"
        "heavy = {'opentelemetry', 'httpx', 'google', 'structlog', 'sqlite3'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"

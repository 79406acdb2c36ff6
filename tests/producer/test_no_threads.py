"""A machine that gives no more threads: telemetry goes on without its own."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import realm_telemetry as realm
from realm_telemetry import errors
from realm_telemetry.producer import api, appenders
from realm_telemetry.producer.telemetry import PIPELINE_VARIABLE
from realm_telemetry.spool.writer import SpoolWriter

ALLOWED = threading.Thread.start


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in which nothing is set up, and nothing was warned of."""
    realm.shutdown(0)
    monkeypatch.setattr(errors, "_warned", set())
    appenders.set_current(appenders.Early(api._on_first_event))
    yield
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let no thread start from now on, or let them again."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    return lambda on: monkeypatch.setattr(threading.Thread, "start", start if on else ALLOWED)


@pytest.mark.parametrize("again", ["flush", "configure"])
@pytest.mark.usefixtures("fresh")
def test_configure_goes_on_without_a_keeper_and_tries_again(
    tmp_path: Path,
    forbid: Callable[[bool], None],
    capfd: pytest.CaptureFixture[str],
    again: str,
) -> None:
    forbid(True)
    made = realm.configure(home=tmp_path, shipper="none")
    assert made is not None
    assert realm.emit("note", "n").number == 1
    realm.flush(0)
    assert made._keeper is None
    assert capfd.readouterr().err.count("no thread can be started (can't start new thread)") == 1
    forbid(False)
    if again == "flush":
        realm.flush(0)
    else:
        assert realm.configure(home=tmp_path, shipper="none") is made
    assert made._keeper is not None
    assert made._keeper._thread.is_alive()


@pytest.mark.usefixtures("fresh")
def test_a_shipper_in_a_thread_begins_as_soon_as_it_can(
    tmp_path: Path, forbid: Callable[[bool], None]
) -> None:
    forbid(True)
    realm.configure(home=tmp_path, shipper="thread", exporters=["battle_log"])
    assert realm.emit("note", "n").number == 1
    assert not realm.flush(0.05)
    forbid(False)
    assert realm.flush(60)
    assert realm.shutdown(5)


@pytest.mark.usefixtures("fresh")
def test_a_shutdown_without_threads_says_what_waits(
    tmp_path: Path, forbid: Callable[[bool], None]
) -> None:
    forbid(True)
    realm.configure(home=tmp_path, shipper="thread", exporters=["battle_log"])
    realm.emit("note", "n")
    assert not realm.shutdown(0.1)


@pytest.mark.usefixtures("fresh")
def test_a_first_event_joins_the_parents_pipeline_without_a_keeper(
    tmp_path: Path, forbid: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = realm.configure(home=tmp_path, shipper="none")
    assert parent is not None
    inherited = parent.inherited()
    realm.shutdown(0)
    monkeypatch.setenv(PIPELINE_VARIABLE, inherited)
    appenders.set_current(appenders.Early(api._on_first_event))
    forbid(True)
    assert [realm.emit("note", "n").number for _ in range(2)] == [1, 2]
    assert isinstance(appenders.current, SpoolWriter)


@pytest.mark.usefixtures("fresh")
def test_any_trouble_of_joining_leaves_the_event_in_the_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`emit` never raises for what goes wrong there."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setenv(PIPELINE_VARIABLE, "{}")
    monkeypatch.setattr(api, "_set_up", broken)
    assert realm.emit("note", "n").number == 1
    assert "could not join its parent's pipeline: nobody thought" in capfd.readouterr().err


@pytest.mark.processes
@pytest.mark.usefixtures("fresh")
def test_a_forked_worker_emits_without_a_keeper(
    tmp_path: Path, forbid: Callable[[bool], None]
) -> None:
    realm.configure(home=tmp_path, shipper="none")
    realm.emit("note", "parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            forbid(True)
            numbers = [realm.emit("note", "worker").number for _ in range(2)]
            code = 0 if numbers == [1, 2] and isinstance(appenders.current, SpoolWriter) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

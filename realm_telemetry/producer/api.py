"""The producer API: `configure` once per process, then `emit`; `flush` and `shutdown`."""

import atexit
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from realm_telemetry.config import DEFAULT_SERVICE_NAME, Settings, load_settings
from realm_telemetry.errors import ConfigError, warn_once
from realm_telemetry.kinds import catalog
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.producer import appenders, faults, notebook, runs, uncaught
from realm_telemetry.producer.context import bound
from realm_telemetry.producer.emission import emit
from realm_telemetry.producer.telemetry import PIPELINE_VARIABLE, Telemetry
from realm_telemetry.shipper.manifest import read_manifest
from realm_telemetry.values.clock import Deadline, seconds
from realm_telemetry.values.conversions import ENDING

__all__ = [
    "bound",
    "configure",
    "emit",
    "flush",
    "flush_problem",
    "get_telemetry",
    "register_kind",
    "shutdown",
]

_active: Telemetry | None = None
_before_fork: Telemetry | None = None
_setting_up = threading.Lock()
_ends_registered = False
_ending = False
_provisional = False
"""Whether what is active was set up by a first use, so that `configure` may still replace it."""


def configure(
    *,
    service_name: str | None = None,
    exporters: Sequence[Any] | None = None,
    processors: Sequence[Any] | None = None,
    home: str | os.PathLike[str] | None = None,
    service_url: str | Sequence[str] | None = None,
    token: str | None = None,
    shipper: str | None = None,
    resource: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    exit_wait: str | None = None,
    durability: str | None = None,
    spool: str | os.PathLike[str] | None = None,
    max_spool_bytes: int | None = None,
    redact: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Telemetry | None:
    """Set this process up to emit; once, at its start. Returns what was set up.

    Arguments win over environment variables, those over `realm.toml` in the home; each is
    described in docs/configuration.md. A second call with the same settings is harmless; one
    with others keeps the first and warns. None with `OTEL_SDK_DISABLED=true`.
    Raises ConfigError, which names the setting and the fix.
    """
    arguments = {
        "service_name": service_name,
        "exporters": exporters,
        "processors": processors,
        "home": home,
        "service_url": service_url,
        "token": token,
        "shipper": shipper,
        "resource": resource,
        "run_id": run_id,
        "exit_wait": exit_wait,
        "durability": durability,
        "spool": spool,
        "max_spool_bytes": max_spool_bytes,
        "redact": redact,
        "options": options,
    }
    settings = load_settings(arguments, inherited=_inherited() or _provided())
    with _setting_up:
        if _provisional:
            return _replace(settings)
        if _active is not None:
            if _differ(settings, _active.settings):
                warn_once(
                    "configured twice",
                    "configure() was called again with other settings; the first stay. "
                    "Call shutdown() in between to change them.",
                )
            _active.start_threads()
            return _active
        return _set_up(settings)


def _differ(settings: Settings, first: Settings) -> bool:
    """Whether settings differ; exporters may be objects that cannot even be compared."""
    try:
        return bool(settings != first)
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - an exporter's own code may raise anything
        return True


def configure_on_first_use(timeout_s: float = 0.0) -> None:
    """Set up from environment and `realm.toml`, for code that never calls `configure`.

    Harmless where something is set up, and while the process ends. A `configure` that comes later
    replaces what was set up here. Without a service name it is the program's.
    timeout_s: how long to wait for another thread that is setting up; its buffer takes events.
    Raises ConfigError, OSError.
    """
    global _provisional
    if _active is not None or _ending or isinstance(appenders.current, appenders.Disabled):
        return
    appenders.begin_again(_on_first_event)
    lock = _setting_up
    # Never for ever: a signal handler may come here while its own thread holds the lock.
    if not lock.acquire(timeout=timeout_s):
        return
    try:
        if _active is None and _before_fork is not None:
            _set_up(_before_fork.settings, parent=_before_fork.producer)
        elif _active is None:
            _provisional = _set_up(_named(load_settings(inherited=_inherited()))) is not None
    finally:
        lock.release()


def configure_provisionally(**arguments: Any) -> None:
    """Set up for a program that has not called `configure`; if it does, that replaces this.

    Harmless where something is set up. Arguments are those of `configure`.
    Raises ConfigError, OSError.
    """
    global _provisional
    settings = _named(load_settings(arguments, inherited=_inherited()))
    with _setting_up:
        if _active is None:
            _provisional = _set_up(settings) is not None


def flush(timeout_s: float = 2.0) -> bool:
    """Wait until all that this producer emitted is in the log and with every exporter.

    False at the deadline, or where events were dropped or given up; see `flush_problem`.
    """
    if _active is None:
        return isinstance(appenders.current, appenders.Disabled | appenders.Early)
    return _active.flush(seconds(timeout_s))


def flush_problem() -> str | None:
    """Why the last `flush` was False, in words; None if it was True."""
    if _active is None:
        return None if flush() else "configure() has not been called"
    return _active.flush_problem


def shutdown(timeout_s: float = 2.0) -> bool:
    """End this producer, never later than the timeout; what is left goes on later.

    Called by itself at exit. Returns whether all is known to be delivered.
    """
    return _shut_down(seconds(timeout_s))


def _shut_down(timeout_s: float, *, process_ends: bool = False) -> bool:
    global _active, _provisional
    deadline = Deadline(timeout_s)
    lock = _setting_up
    # Never for ever: a signal handler may come here while its own thread holds the lock.
    if not lock.acquire(timeout=max(timeout_s, 0.0)):
        return False
    try:
        if _active is not None:
            notebook.look()
            uncaught.end_runs(process_ends=process_ends)
        ending, _active, _provisional = _active, None, False
        if ending is None:
            return True
        if os.environ.get(PIPELINE_VARIABLE) == ending.inherited():
            del os.environ[PIPELINE_VARIABLE]
        if not process_ends:
            _forget()
        return ending.shutdown(deadline.left_s, process_ends=process_ends)
    finally:
        lock.release()


def _forget() -> None:
    """Let go of what belongs to the process as a whole, which goes on without telemetry."""
    runs.leave()
    uncaught.remove()
    notebook.remove()
    faults.detach()


def _tell_children() -> None:
    """Another run is current."""
    if _active is not None:
        _active.tell_children()


def get_telemetry() -> Telemetry | None:
    """What `configure` set up; None before it."""
    return _active


def register_kind(
    kind: str,
    *,
    channel: str,
    severity: str = "info",
    message: str | None = None,
    routine: bool = False,
) -> KindSpec:
    """Add a kind of your own, for this process and for all readers of its events.

    message: a template over the details, such as "Gradient norm {norm:.1f}".
    routine: it repeats by the thousand; views show the latest and count the others.
    Raises ConfigError for a name that is built in or registered differently.
    """
    spec = catalog.register_kind(
        kind, channel=channel, severity=severity, message=message, routine=routine
    )
    if _active is not None:
        _active.register_kind(spec)
    return spec


def _set_up(settings: Settings, *, parent: str | None = None) -> Telemetry | None:
    """Open the spool, let it take over, begin. The caller holds the lock."""
    global _active
    if settings.disabled:
        appenders.hand_over(appenders.Disabled())
        return None
    producer = appenders.early_producer() or appenders.new_producer()
    started = Telemetry(settings, producer, parent=parent)
    if parent is None:
        runs.set_up(settings.run_id, settings.run_origin)
    else:
        runs.go_on()
    uncaught.install()
    notebook.install()
    dropped = appenders.hand_over(started.writer)
    _active = started
    runs.on_change = _tell_children
    started.begin()
    if dropped:
        started.count_early_drops(dropped)
        emit("events_dropped", count=dropped, total=dropped, reason="emitted before configure()")
    _register_ends()
    return started


def _replace(settings: Settings) -> Telemetry | None:
    """Replace the auto-configured producer. The caller holds the lock."""
    global _active, _provisional
    _provisional = False
    if _active is None or settings == _active.settings:
        return _active
    leaving, _active = _active, None
    try:
        return _set_up(settings)
    finally:
        # Afterwards, so that at every moment there is a spool for other threads to emit into.
        leaving.shutdown(goes_on=True)


def _named(settings: Settings) -> Settings:
    """The settings with the program's name where none is given."""
    path = Path(sys.argv[0] if sys.argv else "")
    program = path.parent.name if path.stem == "__main__" else path.stem
    if settings.service_name != DEFAULT_SERVICE_NAME or program in ("", "-c", "-m"):
        return settings
    return msgspec.structs.replace(settings, service_name=program)


def _inherited() -> dict[str, Any]:
    """The settings of the parent's pipeline, if this process was started by a producer."""
    text = os.environ.get(PIPELINE_VARIABLE)
    if not text:
        return {}
    try:
        inherited = msgspec.json.decode(text, type=dict[str, Any])
        manifest = read_manifest(Path(inherited.pop("directory")))
    except (msgspec.DecodeError, UnicodeError, RecursionError, KeyError, TypeError):
        return {}
    except ConfigError as error:
        warn_once(str(error), f"{PIPELINE_VARIABLE} is not followed. {error}")
        return {}
    if _active is not None:  # the pipeline is our own, and the run may be by now
        begun = _active.settings
        inherited |= {"run_id": begun.run_id, "run_origin": begun.run_origin}
    taken = ("home", "exporters", "processors", "service_url", "token", "options", "redact")
    return inherited | {name: getattr(manifest, name) for name in taken}


def _provided() -> dict[str, Any]:
    """The exporters that were chosen for this program from outside, if it chooses none itself."""
    if not _provisional or _active is None:
        return {}
    return {name: getattr(_active.settings, name) for name in ("exporters", "options")}


def _on_first_event() -> None:
    """The first event came before `configure`: join the parent's pipeline, or warn."""
    if not _setting_up.acquire(blocking=False):
        return
    try:
        if _active is not None:
            return
        if _before_fork is not None:
            _set_up(_before_fork.settings, parent=_before_fork.producer)
        elif os.environ.get(PIPELINE_VARIABLE):
            _set_up(load_settings(inherited=_inherited()))
        elif os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            appenders.hand_over(appenders.Disabled())
        else:
            warn_once(
                "early",
                "emit() before configure(): up to "
                f"{appenders.MAX_EARLY_EVENTS:,} events are kept until it is called, "
                "and lost if it never is",
            )
    except Exception as error:  # noqa: BLE001 - `emit` is waiting, and never raises
        warn_once(str(error), f"this process could not join its parent's pipeline: {error}")
    finally:
        _setting_up.release()


def _register_ends() -> None:
    """Shut down at exit; children of multiprocessing skip atexit but run its finalizers."""
    global _ends_registered
    if not _ends_registered:
        _ends_registered = True
        atexit.register(_end)
    if "multiprocessing.util" in sys.modules:
        from multiprocessing.util import Finalize

        Finalize(None, _end, exitpriority=-100)


def _end() -> None:
    global _ending
    _ending = True
    _shut_down(2.0, process_ends=True)


def _after_fork_in_child() -> None:
    """A child is a new producer. Takes no lock, starts no thread, touches no file."""
    global _active, _before_fork, _ending, _provisional, _setting_up
    if _active is not None:
        _before_fork = _active
    runs.after_fork()
    faults.after_fork()
    _active, _provisional, _ending = None, False, False
    _setting_up = threading.Lock()
    if not isinstance(appenders.current, appenders.Disabled):
        appenders.set_current(appenders.Early(_on_first_event))


def _after_fork_in_parent() -> None:
    if _active is not None:
        _active.note_fork()


appenders.set_current(appenders.Early(_on_first_event))
os.register_at_fork(after_in_child=_after_fork_in_child, after_in_parent=_after_fork_in_parent)

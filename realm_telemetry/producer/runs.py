"""The runs that this process takes part in: when one begins, what it is called, how it ends.

    nothing yet -> open (run_started) -> over (run_ended) -> open: the next run ...

The process's own run begins with its first training event; that of a `bound(run_id=...)` block with
the first one inside. A training that is started in another thread or asyncio task than the
process's own, while that one goes on, has a run beside it: the thread or task is bound to it.

`emission` hands over every training event but the steps of the run that is under way. As for all of
`emit`, nothing here takes a lock. A run is put among the open ones, and taken out, in one atomic
step each; who did it emits what is emitted once.
"""

import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from threading import local
from time import time_ns
from typing import Any, Final, NamedTuple
from weakref import ref

import msgspec

from realm_telemetry.config import MAX_RUN_ID_CHARS
from realm_telemetry.errors import warn_once
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.producer import appenders, emission
from realm_telemetry.producer.context import base, bound
from realm_telemetry.producer.emission import NO_RUN, Run, keep_clean, set_base, set_run
from realm_telemetry.producer.run_names import RunNames
from realm_telemetry.spool.writer import DROPPED
from realm_telemetry.values.clock import monotonic
from realm_telemetry.values.conversions import ENDING

MAX_OPEN_RUNS: Final = 64
"""Runs open at once; of those that `bound` names beyond, nothing but their events is recorded."""
MAX_REASON_CHARS: Final = 1_000
OUT_OF_CUDA_MEMORY: Final = "CUDA out of memory"
_OUT_OF_MEMORY: Final = re.compile(r"\b(CUDA|HIP|XPU|MPS backend)(?: error:)? out of memory")
"""As torch says it, of several kinds of devices; the error of the driver has its own words."""
_ADVICE: Final = re.compile(r"\n\w+ kernel errors might be .*", re.DOTALL)
_BEGINNINGS: Final = frozenset(
    ("training_started", "training_step", "training_resumed", "run_started", "run_config")
)
"""What begins another run when one is over; other training events belong to the last one still."""
_NO_BEGINNINGS: Final = frozenset(("run_ended", "note"))
"""What begins no run at all; a note is what a person or an older program writes in a channel."""
_ENDINGS: Final = {
    "training_completed": "completed",
    "training_failed": "failed",
    "training_cancelled": "cancelled",
}
_SEVERITIES: Final = {"completed": "success", "failed": "error"}


class Cause(NamedTuple):
    """Why a run ended, with the facts that this rests on."""

    status: str
    reason: str | None
    evidence: dict[str, Any]
    exit_code: int | None = None


_names: Final = RunNames()
_open: Final[dict[str | None, Run]] = {}
"""By the run id of the block that they belong to; None: the process's own."""
_beside: Final[ContextVar[tuple[str, bound] | None]] = ContextVar("realm_beside", default=None)
"""The run beside the process's own that this thread or task is bound to, or was last, and how."""
_here: Final = local()
_may_begin = False
_last_over: str | None = None


def _nothing() -> None:
    pass


on_change: Callable[[], None] = _nothing
"""Called when another run is current, so that child processes hear of it."""


def set_up(run_id: str | None, origin: str) -> None:
    """Let runs begin in a process that has just been set up.

    origin: as `Settings.run_origin`. A run that is open already goes on, unless another is given.
    """
    global _may_begin
    own = _open.get(None)
    if own is not None and run_id is not None and origin == "given" and run_id != own.id:
        _end(None, Cause("lost", "configure() named another run", {"run_id": run_id}))
        own = None
    _names.given = run_id if origin == "given" else None
    if own is None:
        derived = run_id if origin in ("derived", "command") else None
        goes_on = run_id is None and _names.is_launch
        if not goes_on and (derived is None or derived != _names.derived):
            _names.derive(derived, is_command=origin == "command")
        _names.is_child = origin == "ended"
        set_base(run_id=run_id)
    _may_begin = True


def for_hello() -> list[dict[str, Any]]:
    """Return the runs that a new spool of this process goes on with."""
    return [
        {"id": run.id, "since_unix_nano": run.first.time_unix_nano if run.first else time_ns()}
        for run in list(_open.values())
    ]


def go_on() -> None:
    """Let runs begin in a forked child, which has its parent's names."""
    global _may_begin
    _may_begin = True


def go_on_with(run_id: str) -> None:
    """Let the next run of this process be one that began elsewhere, as from its checkpoint.

    Harmless where a run is open, or where user, launcher or scheduler have named one.
    """
    if None not in _open and not _names.is_named and len(run_id) <= MAX_RUN_ID_CHARS:
        _names.derive(run_id)
        _names.is_child = False


def leave() -> None:
    """Forget the runs: this process is set up no longer. Names that are numbered go on."""
    rest()
    _open.clear()
    set_run(NO_RUN)
    set_base(run_id=None)


def rest() -> None:
    """Let no run begin any more, while the process ends."""
    global _may_begin
    _may_begin = False


def after_fork() -> None:
    """In a child: take part in the parent's run only by training, and never end the parent's."""
    own = _open.get(None)
    if own is not None or (_names.ended and not _names.is_command):
        _names.derive(own.id if own is not None else None)
        _names.is_child = True
    _names.begun = _names.ended = 0
    _open.clear()
    _beside.set(None)
    set_run(NO_RUN)
    rest()


def for_children() -> dict[str, str | None]:
    """Return what a child process takes over: the run id and `Settings.run_origin`."""
    is_over = bool(_names.ended) and None not in _open
    if _names.given is not None:
        origin = "given"
    elif _names.is_command and None not in _open:
        return {"run_id": _names.derived, "run_origin": "command"}
    else:
        origin = "ended" if is_over else "derived"
    return {"run_id": base.run_id, "run_origin": origin}


def end_open(cause: Cause | None, otherwise: dict[str, Any]) -> None:
    """End the runs that are open.

    cause: why, if that holds for the whole process; else each ends as what it met, or completed.
    otherwise: the evidence of those that completed.
    """
    for key, run in list(_open.items()):
        _end(key, cause or _met(run) or Cause("completed", None, otherwise))


def note_cause(cause: Cause | None) -> None:
    """Note why the runs that this thread began will have ended, if no step comes any more."""
    beside = _beside.get()
    for key, run in list(_open.items()):
        if run.thread() is _this_thread():
            run.cause = (cause, run.last)
            if cause is not None and beside is not None and beside[0] == key:
                _end(key, cause)  # it was bound to this thread


def steps_here() -> dict[Run, dict[str, Any]]:
    """Return the open runs that this thread began, with the details of their newest step."""
    return {run: run.last for run in list(_open.values()) if run.thread() is _this_thread()}


def end(run: Run, cause: Cause) -> None:
    """End a run, if it is open."""
    for key, each in list(_open.items()):
        if each is run:
            _end(key, cause)


def _met(run: Run) -> Cause | None:
    """What the thread of a run died of, if no step came since."""
    if run.cause is None or run.cause[1] is not run.last:
        return None
    cause: Cause | None = run.cause[0]
    return cause


class _Thread:
    """Stands for a thread, and is gone with it; its number would be another's then."""


def _this_thread() -> _Thread:
    if not hasattr(_here, "thread"):
        _here.thread = _Thread()
    found: _Thread = _here.thread
    return found


def _this_task() -> Any:
    """Stands for the asyncio task that runs; None outside of tasks."""
    asyncio = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task() if asyncio is not None else None
    except (RuntimeError, AttributeError):  # no event loop runs here; or it is half imported
        task = None
    return None if task is None else ref(task)


def is_older(error: BaseException) -> bool:
    """Whether an exception was being handled already when the open runs began."""
    return bool(_open) and all(run.handled == id(error) for run in _open.values())


def reason_of(error: str, error_type: str = "") -> str:
    """Return an error's text as a reason, which says so if the memory of the GPU ran out."""
    found = _OUT_OF_MEMORY.search(error)
    if found:
        rest = _ADVICE.sub("", error[found.end() :]).strip(" .:\n")
        error = f"{found[1]} out of memory: {rest}".removesuffix(": ")
    elif error_type.startswith("torch.") and error_type.endswith(".OutOfMemoryError"):
        error = f"{OUT_OF_CUDA_MEMORY}: {error}"
    return error if len(error) <= MAX_REASON_CHARS else error[: MAX_REASON_CHARS - 1] + "…"


def take_part(event: Event, bound_id: str | None) -> Event:
    """Record a training event, with the beginning and the end of its run where it is one."""
    appenders.join()
    key, run = None if bound_id == base.run_id else bound_id, None
    try:
        key = _of_this_training(event, key)
        run = _run_of(event, key) if _may_begin else None
    except Exception as error:  # noqa: BLE001 - `emit` never raises, whatever argv and files hold
        warn_once("run", f"a run could not be begun: {error!r}")
    if run is None:
        return keep_clean(event)
    if event.kind == "training_step":
        run.last = event.details
        set_run(run)
        show_step(None, event.time_unix_nano)
    run.trained = run.trained or event.kind == "training_started"
    kept = keep_clean(msgspec.structs.replace(event, run_id=run.id))
    if event.kind in _ENDINGS:
        _end(key, _cause_of(event), event)
    elif event.kind == "run_ended":
        _close(key)
    return kept


emission.take_part = take_part


def show_step(step: Any, moment: int) -> bool:
    """Show on the control page that this process made a step; False if it is no number.

    step: None for one that is an event, which says the rest.
    """
    words = appenders.current.progress
    try:
        if step is not None:
            words[0] = step
            words[1] = moment
        words[2] = moment
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - a value's own code may raise anything
        return False
    return True


def begin_unless_open() -> None:
    """Begin the run of this process, as its first step would."""
    if emission.run is NO_RUN and None not in _open and _may_begin:
        appenders.join()
        event = Event("training_step", "training", "info", "", {}, time_ns(), "", DROPPED)
        run = _run_of(event, None)
        if run is not None:
            set_run(run)


def _of_this_training(event: Event, key: str | None) -> str | None:
    """The key of the run that an event belongs to, which may be one beside the process's own."""
    beside = _beside.get()
    if beside is not None and beside[0] == key and event.kind in _BEGINNINGS:
        run = _open.get(key)
        over_by = run and event.kind == "training_started" and _ended_by_next(run)
        if run is not None and over_by:
            _end(key, over_by)
        elif run is not None:
            return key
        beside[1].__exit__(None, None, None)  # its last one is over
        _beside.set(None)
    elif key is not None or event.kind != "training_started":
        return key
    own = _open.get(None)
    is_at_once = own is not None and own.trained and not _is_here(own) and _lives(own)
    return _begin_beside(event) if is_at_once and _may_begin and not _names.given else None


def _begin_beside(event: Event) -> str | None:
    """Begin a run beside the process's own; None where there are too many."""
    if len(_open) >= MAX_OPEN_RUNS:
        return None
    for number in count(_names.begun + 1):
        key = _names.of_number(number)
        block = bound(run_id=key)
        run = _new_run(key, event)
        if _open.setdefault(key, run) is run:
            break
    _names.begun = max(_names.begun, number)
    block.__enter__()
    _beside.set((key, block))
    _follow_task(run, key)
    _say_started(run, event)
    return key


def _follow_task(run: Run, beside: str | None = None) -> None:
    """Have the end of the asyncio task that begins a run noted as that of a thread is.

    beside: the run's key, if it is one beside the process's own, which ends with its task.
    """

    def note(task: Any) -> None:
        cause = cause_of_task(task) if cause_of_task else None
        run.cause = (cause, run.last) if cause is not None else run.cause
        if cause is not None and beside is not None and _open.get(beside) is run:
            _end(beside, cause)

    task = run.task and run.task()
    if task is not None:
        task.add_done_callback(note)


cause_of_task: Callable[[Any], Cause | None] | None = None
"""Why a run ends whose asyncio task has (`producer.uncaught`)."""


def _run_of(event: Event, key: str | None) -> Run | None:
    """The open run of an event, begun if need be; None if its run is over, or never began."""
    run = _open.get(key)
    if run is None:
        over = _names.ended if key is None else key == _last_over
        if event.kind in _NO_BEGINNINGS or (over and event.kind not in _BEGINNINGS):
            return None
        return _begin(event, key)
    if event.kind == "training_started" and key is None and (over_by := _ended_by_next(run)):
        _end(key, over_by)
        return _begin(event, key)
    return run


def _ended_by_next(run: Run) -> Cause | None:
    """Why a run is over that nobody ended, such as one that raised, now that a training begins."""
    met = _met(run)
    if met is None and run.trained and run.last and _names.given is None:
        evidence = {"event": "training_started"}
        if _is_here(run):
            return Cause("lost", "another training began in its thread", evidence)
        if not _lives(run):
            return Cause("lost", "another training began after its thread had ended", evidence)
    return met


def _is_here(run: Run) -> bool:
    """Whether this thread and task began a run."""
    return run.thread() is _this_thread() and run.task == _this_task()


def _lives(run: Run) -> bool:
    """Whether the thread and the task that began a run have not ended."""
    task = run.task and run.task()
    return run.thread() is not None and (run.task is None or (task is not None and not task.done()))


def _begin(event: Event, key: str | None) -> Run | None:
    if key is not None and len(_open) >= MAX_OPEN_RUNS:
        return None
    fresh = _new_run(key or _names.next(is_announced=event.kind == "training_started"), event)
    run = _open.setdefault(key, fresh)
    if run is not fresh:  # another thread was faster
        if run.id != fresh.id:
            _names.give_back(fresh.id)
        is_another = key is None and fresh.trained and run.trained and not _names.given
        return _open.get(_begin_beside(event) or key) if is_another else run
    if key is None:
        _names.begun += 1
        set_base(run_id=run.id)
        on_change()
    _follow_task(run)
    if event.kind != "run_started":
        _say_started(run, event)
    return run


def _new_run(run_id: str, event: Event) -> Run:
    first = msgspec.structs.replace(event, details={}, message="", webhooks=())
    run = Run(run_id, first, monotonic(), ref(_this_thread()))
    run.task, run.handled = _this_task(), id(sys.exc_info()[1])
    run.trained = event.kind == "training_started"
    return run


def _say_started(run: Run, event: Event) -> None:
    from realm_telemetry.producer.origin import facts, of_the_model, shortened

    details = facts() | of_the_model(event.details)
    message = render("run_started", details | {"command": shortened(details.get("command", "?"))})
    _record(run, "run_started", details, message, event.time_unix_nano)


def _close(key: str | None) -> Run | None:
    """Take a run out of the open ones; None if somebody else has."""
    global _last_over
    run = _open.pop(key, None)
    if run is None:
        return None
    if emission.run is run:
        set_run(NO_RUN)
    _last_over = run.id
    if key is None:
        _names.ended += 1
        on_change()
    return run


def _end(key: str | None, cause: Cause, event: Event | None = None) -> None:
    """Close a run and say so; event: the one that ended it."""
    run = _close(key)
    if run is None:
        return
    _names.note_end(run.id, cause.status)
    found = {
        "status": cause.status,
        "reason": cause.reason,
        "evidence": cause.evidence,
        "exit_code": cause.exit_code,
        "duration_s": round(monotonic() - run.began_s, 3),
        "last_step": _last_step(run, event),
    }
    details = {name: value for name, value in found.items() if value is not None}
    severity = _SEVERITIES.get(cause.status, "warning")
    moment = event.time_unix_nano if event is not None else time_ns()
    _record(run, "run_ended", details, render("run_ended", details), moment, severity)


def _last_step(run: Run, event: Event | None) -> int | None:
    """The newest step that the run's own events name."""
    named = [run.last.get("step"), event.details.get("step") if event is not None else None]
    return max((step for step in named if type(step) is int), default=None)


def _cause_of(event: Event) -> Cause:
    status = _ENDINGS[event.kind]
    text = event.details.get("error" if status == "failed" else "reason")
    evidence: dict[str, Any] = {"event": event.kind}
    if status == "failed" and isinstance(text, str):
        evidence["exception"] = text[:MAX_REASON_CHARS]
    error_type = str(event.details.get("error_type", ""))
    return Cause(status, None if text is None else reason_of(str(text), error_type), evidence)


def _record(
    run: Run,
    kind: str,
    details: dict[str, Any],
    message: str,
    moment: int,
    severity: str | None = None,
) -> None:
    """Record an event about a run, with the hero, campaign and source of its first one."""
    channel, severity = resolve(kind, None, severity)
    first = run.first
    event = Event(kind, channel, severity, message, details, moment, "", DROPPED, run_id=run.id)
    if first is not None:
        event = msgspec.structs.replace(
            event, hero_id=first.hero_id, campaign_id=first.campaign_id, source=first.source
        )
    keep_clean(event)

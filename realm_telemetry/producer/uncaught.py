"""Exceptions that nobody catches: reported by hooks of the interpreter, and why a run ended.

Each hook calls the one that was there before, once, with the same arguments, whatever happens here.
Other software may put its own in the place of ours, so that `sys.last_value` is looked at as well
when the process ends. An interactive interpreter goes on after an exception: one that was typed
ends no run, and that of the script before it (`python -i`, `python -m pdb`) ends the runs alone.
"""

import builtins
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any, Final

from realm_telemetry.producer import runs
from realm_telemetry.producer.emission import emit
from realm_telemetry.producer.runs import Cause
from realm_telemetry.values.conversions import to_json_value
from realm_telemetry.values.exceptions import traceback_text

MAX_TRACEBACK_CHARS: Final = 16_000
"""The end of a longer traceback is kept: it is nearest to the error."""
MAX_REPORTS: Final = 100
"""Exceptions reported of threads, finalizers and cells, each; some raise them by the thousand."""


_DEBUGGERS: Final = (("-m", "pdb"), ("-m", "ipdb"))


class _Seen:
    """What has been seen of this process's end.

    reported: the `id` of the newest exception of the main thread that was reported.
    before: that of one that had been noted by Python before the hooks were there.
    cause: why the process ends.
    """

    def __init__(self) -> None:
        self.reported = 0
        self.before = 0
        self.cause: Cause | None = None
        self.reports: dict[str, int] = {}


class _Hook:
    """A hook in a module's attribute, in front of the one that was there."""

    def __init__(self, module: Any, name: str, report: Callable[..., None]) -> None:
        self._module, self._name, self._report = module, name, report
        self._reporting: set[int] = set()
        self.active = True
        self.previous: Callable[..., Any] = getattr(module, name)
        setattr(module, name, self)

    def __call__(self, *arguments: Any) -> Any:
        # Whatever a value's own code raises: what was here before is called all the same.
        # At the interpreter's end the names of this module are gone.
        try:  # noqa: SIM105
            self._report_once(arguments)
        except BaseException:  # noqa: BLE001 - see above
            pass
        return self.previous(*arguments)

    def __get__(self, instance: Any, _: Any = None) -> Any:
        """Be a method where the attribute is a class's."""
        return self if instance is None else partial(self, instance)

    def _report_once(self, arguments: tuple[Any, ...]) -> None:
        me = threading.get_ident()
        # Reporting may itself run finalizers that raise.
        if self.active and me not in self._reporting:
            self._reporting.add(me)
            try:
                self._report(*arguments)
            finally:
                self._reporting.discard(me)

    def remove(self) -> None:
        """Put the previous one back, or do nothing any more where another came in front."""
        self.active = False
        if getattr(self._module, self._name) is self:
            setattr(self._module, self._name, self.previous)


_seen = _Seen()
_hooks: list[_Hook] = []


def install() -> None:
    """Put the hooks in place, unless they are."""
    global _seen
    if not _hooks:
        _seen = _Seen()
        _seen.before = id(last_value())
        _hooks.append(_Hook(sys, "excepthook", _of_main_thread))
        _hooks.append(_Hook(threading, "excepthook", _of_thread))
        _hooks.append(_Hook(sys, "unraisablehook", _unraisable))
        debugger = sys.modules.get("pdb") if _is_debugged() else None
        if debugger is not None:
            _hooks.append(_Hook(debugger.Pdb, "interaction", _of_debugger))


def remove() -> None:
    """Take the hooks away."""
    while _hooks:
        _hooks.pop().remove()


def end_runs(*, process_ends: bool) -> None:
    """End the runs that are open, by what was seen.

    An exception that is on its way right now counts too: `shutdown` is often called in `finally`,
    and a child of multiprocessing comes here with the exception that ends it.
    """
    passing = sys.exc_info()[1]
    if passing is not None and runs.is_older(passing):
        passing = None  # the whole training ran in an `except` block
    with suppress(Exception):  # an interpreter that is half gone
        _look_at_last_value()
        if process_ends and passing is not None:
            _report(passing, passing.__traceback__, ends=True)
    cause = _seen.cause or (_cause_of(passing) if passing is not None else None)
    runs.end_open(cause, {"exit": "normal"} if process_ends else {"call": "shutdown"})
    if process_ends:
        runs.rest()


def _of_main_thread(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Report what ends the main thread; programs call the hook themselves too, and go on."""
    _report(error, trace, ends=error is last_value())


def _report(error: BaseException, trace: Any, *, ends: bool) -> None:
    """Report an exception, once if it ends the process."""
    if isinstance(error, SystemExit | GeneratorExit):
        return
    if ends:
        is_known, _seen.reported = id(error) == _seen.reported, id(error)
        if not _goes_on():
            _seen.cause = _cause_of(error)
    else:
        is_known = not _counted("hook")
    if not (is_known or _is_by_a_person(error)):
        ending = {"ends_process": True} if ends and not _goes_on() else {}
        _emit(error, trace, threading.current_thread().name, **ending)
    if ends and _is_before_prompt():
        runs.end_open(_cause_of(error), {})


def _of_debugger(_debugger: Any, frame: Any, *_: Any) -> None:
    """Report what ended the program that `python -m pdb` runs, before a person looks into it."""
    error = sys.exc_info()[1] if frame is None else None
    if error is not None and not isinstance(error, SystemExit):
        if not _is_by_a_person(error):
            _emit(error, error.__traceback__, threading.current_thread().name)
        runs.end_open(_cause_of(error), {})


def of_cell(error: BaseException) -> Cause:
    """Report what ended a cell of a notebook; returns it as the end of the runs in it."""
    if not isinstance(error, SystemExit | KeyboardInterrupt) and _counted("cell"):
        _emit(error, error.__traceback__, threading.current_thread().name)
    return _cause_of(error) or Cause("completed", None, {"cell": "ended"})


def _of_thread(arguments: Any) -> None:
    error = arguments.exc_value
    if error is None or isinstance(error, SystemExit):
        return
    runs.note_cause(_cause_of(error))
    thread = arguments.thread
    if _counted("thread"):
        name = thread.name if thread is not None else threading.current_thread().name
        _emit(error, arguments.exc_traceback, name)


def _unraisable(arguments: Any) -> None:
    error = arguments.exc_value
    if error is None or isinstance(error, SystemExit) or not _counted("unraisable"):
        return
    where = getattr(arguments.object, "__qualname__", None) or type(arguments.object).__qualname__
    _emit(
        error,
        arguments.exc_traceback,
        threading.current_thread().name,
        severity="warning",
        unraisable=f"{arguments.err_msg or 'Exception ignored in'}: {where}",
    )


def _counted(what: str) -> bool:
    _seen.reports[what] = _seen.reports.get(what, 0) + 1
    return _seen.reports[what] <= MAX_REPORTS


def _look_at_last_value() -> None:
    """Report what ended the main thread while another hook was in the place of ours."""
    error = last_value()
    if error is not None and id(error) != _seen.before and not _goes_on():
        _report(error, getattr(sys, "last_traceback", None), ends=True)


def last_value() -> BaseException | None:
    """Return the exception that Python, or a shell, has shown last; None if there was none."""
    found = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return found if isinstance(found, BaseException) else None


def _goes_on() -> bool:
    """Whether this is an interactive interpreter, which an exception does not end."""
    if hasattr(sys, "ps1") or sys.flags.interactive or hasattr(builtins, "get_ipython"):
        return True
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return ask is not None and ask() is not None


def _is_before_prompt() -> bool:
    """Whether this is the script of `python -i`, which a prompt follows whatever ends it."""
    return bool(sys.flags.interactive) and not hasattr(sys, "ps1")


def _is_debugged() -> bool:
    """Whether a debugger runs the program and goes on after it."""
    return any(pair in _DEBUGGERS for pair in pairwise(sys.orig_argv))


def _is_by_a_person(error: BaseException) -> bool:
    """Whether somebody pressed Ctrl-C, or left the debugger."""
    return isinstance(error, KeyboardInterrupt) or _is_quit(error)


def _is_quit(error: BaseException) -> bool:
    bdb = sys.modules.get("bdb")
    return bdb is not None and isinstance(error, bdb.BdbQuit)


def _emit(error: BaseException, trace: Any, thread: str, **fields: Any) -> None:
    emit(
        "uncaught_exception",
        error=to_json_value(error),
        error_type=_qualified(type(error)),
        traceback=traceback_text(error, trace)[-MAX_TRACEBACK_CHARS:],
        thread=thread,
        **fields,
    )


def _qualified(kind: type[BaseException]) -> str:
    name, module = str(kind.__qualname__), str(kind.__module__)
    return name if module == "builtins" else f"{module}.{name}"


def _cause_of(error: BaseException) -> Cause | None:
    """Why a run ends that this exception ends; None if it says nothing."""
    if isinstance(error, KeyboardInterrupt):
        return Cause("cancelled", "KeyboardInterrupt", {"exception": "KeyboardInterrupt"})
    if isinstance(error, SystemExit):
        return _of_exit(error)
    if _is_quit(error):
        return Cause("cancelled", "the debugger was left", {"exception": "BdbQuit"})
    if isinstance(error, GeneratorExit):
        return None
    text, error_type = str(to_json_value(error))[: runs.MAX_REASON_CHARS], _qualified(type(error))
    reason = runs.reason_of(text, error_type)
    return Cause("failed", reason, {"exception": text, "error_type": error_type})


def _cause_of_task(task: Any) -> Cause | None:
    """Why a run ends that a task of asyncio began; None if the task ended well."""
    if task.cancelled():
        return Cause("cancelled", "its task was cancelled", {"task": "cancelled"})
    # Not by `exception()`, which keeps asyncio from saying that nobody asked for it.
    error = getattr(task, "_exception", None)
    return _cause_of(error) if isinstance(error, BaseException) else None


runs.cause_of_task = _cause_of_task


def _of_exit(error: SystemExit) -> Cause:
    """What `sys.exit` on its way says: the code is that of the process, text counts as 1."""
    code = error.code
    number = 0 if code is None else code & 0xFF if isinstance(code, int) else 1
    if number == 0:
        return Cause("completed", None, {"exit_code": 0}, 0)
    evidence: dict[str, Any] = {"exit_code": number}
    reason = f"exit code {number}"
    context = error.__context__
    if isinstance(context, Exception):  # multiprocessing of torch exits like this
        evidence["exception"] = str(to_json_value(context))[: runs.MAX_REASON_CHARS]
        reason = runs.reason_of(evidence["exception"])
    return Cause("failed", reason, evidence, number)

"""Cells of IPython and Jupyter: the end of a cell is the end of a run that made steps in it.

The process goes on after a cell, whatever happened in it, so that neither its exit nor a hook for
exceptions says how a training ended. A run that has only been begun or described waits for the cell
that trains. Source: https://ipython.readthedocs.io/en/stable/config/callbacks.html
"""

import sys
from contextlib import suppress
from typing import Any, Final

from realm_telemetry.producer import runs, uncaught
from realm_telemetry.producer.emission import Run
from realm_telemetry.producer.runs import Cause

_COMPLETED: Final = Cause("completed", None, {"cell": "ended"})


class Cells:
    """Watches the cells of a shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._before: dict[Run, Any] = {}
        self._shown = uncaught.last_value()
        shell.events.register("pre_run_cell", self._begin)
        shell.events.register("post_run_cell", self._end)

    def leave(self) -> None:
        """Watch no longer."""
        with suppress(ValueError):  # somebody has thrown all callbacks away
            self._shell.events.unregister("pre_run_cell", self._begin)
            self._shell.events.unregister("post_run_cell", self._end)

    def look(self) -> None:
        """End the runs of a file that IPython ran before any cell, and that raised."""
        error = self._newly_shown()
        if error is not None and (trained := runs.steps_here()):
            cause = uncaught.of_cell(error)
            for run in trained:
                runs.end(run, cause)

    def _newly_shown(self) -> BaseException | None:
        """The exception whose traceback the shell has shown since it was last looked at."""
        before, self._shown = self._shown, uncaught.last_value()
        return None if self._shown is before else self._shown

    def _begin(self, _info: Any) -> None:
        self.look()
        self._before = runs.steps_here()

    def _end(self, result: Any) -> None:
        trained = {
            run: step
            for run, step in runs.steps_here().items()
            if self._before.get(run) is not step
        }
        # `%run train.py` shows what the file raises, and the cell ends well.
        shown = self._newly_shown()
        error = result.error_before_exec or result.error_in_exec or shown
        if error is not None and trained:
            cause = uncaught.of_cell(error)
            for run in trained:
                runs.end(run, cause)
        elif error is None:
            for run in [run for run, step in trained.items() if step]:
                runs.end(run, _COMPLETED)


_cells: Cells | None = None


def install() -> None:
    """Watch the cells, if this process runs them and unless they are watched."""
    global _cells
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = ask() if ask is not None else None
    if shell is not None and _cells is None:
        _cells = Cells(shell)


def look() -> None:
    """End the runs of a file that IPython ran as a script, and that raised."""
    with suppress(Exception):  # an interpreter that is half gone
        if _cells is not None:
            _cells.look()


def remove() -> None:
    """Watch no longer."""
    global _cells
    cells, _cells = _cells, None
    if cells is not None:
        cells.leave()

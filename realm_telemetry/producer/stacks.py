"""The stacks of this process's threads, taken when its shipper asks for them: see `shipper.watch`.

Taken by a thread of Python, which holds the interpreter lock meanwhile. `faulthandler` with all
threads would not wait for that lock, and has crashed programs that were running.
"""

import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from realm_telemetry.spool.control import Control

METHOD: Final = "keeper"
MAX_THREADS: Final = 64
MAX_THREAD_CHARS: Final = 6_000
MAX_CHARS: Final = 24_000


class StackRequests:
    """Answers the shipper's requests with an event; a chore of the keeper.

    control: returns the control page; None where there is no spool.
    """

    def __init__(self, control: Callable[[], Control | None]) -> None:
        self._control = control

    def answer(self) -> None:
        """Emit `stack_captured` if the shipper has asked again."""
        control = self._control()
        if control is None or control.stacks_wanted == control.stacks_given:
            return
        control.stacks_given = control.stacks_wanted
        from realm_telemetry.producer.emission import emit

        emit("stack_captured", **captured())


def captured() -> dict[str, Any]:
    """Return the details of `stack_captured`: the main thread first, the innermost call last."""
    me = threading.get_ident()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = {ident: frame for ident, frame in sys._current_frames().items() if ident != me}
    main = threading.main_thread().ident
    idents = sorted(frames, key=lambda ident: (ident != main, ident))
    shown = [_shown(names.get(ident, "?"), frames[ident]) for ident in idents[:MAX_THREADS]]
    return {"method": METHOD, "threads": len(idents), "stack": "\n".join(shown)[:MAX_CHARS]}


def _shown(name: str, frame: FrameType) -> str:
    text = "".join(traceback.format_stack(frame))
    # The innermost calls say where it hangs.
    return f"Thread {name}:\n{text[-MAX_THREAD_CHARS:]}"

"""The keeper: one thread per producer that looks after its spool and its shipper."""

import threading
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 5.0
RESTRICTED_INTERVAL_S: Final = 0.2


class Keeper:
    """Calls a list of chores at once and then every few seconds, until it is stopped.

    hurried: whether the next round is due soon, because the spool is nearly full.
    on_error: gets what a chore raised; the other chores go on.
    """

    def __init__(
        self,
        chores: list[Callable[[], None]],
        *,
        hurried: Callable[[], bool],
        on_error: Callable[[Exception], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._chores = chores
        self._hurried = hurried
        self._on_error = on_error
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="realm-telemetry-keeper", daemon=True
        )

    def start(self) -> None:
        """Begin, in a daemon thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the round at hand; waits for it no longer than the timeout."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            for chore in self._chores:
                try:
                    chore()
                except Exception as error:  # noqa: BLE001 - a training process must not see it
                    self._on_error(error)
            wait_s = RESTRICTED_INTERVAL_S if self._hurried() else self._interval_s
            if self._stop.wait(wait_s):
                return

"""A limit on wrong tokens per address."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable


class Throttle:
    """Counts failures per address inside a sliding window.

    Bounded: `max_addresses` are remembered, the longest silent one is forgotten first.
    """

    def __init__(
        self,
        attempts: int,
        window_s: float,
        *,
        max_addresses: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts = attempts
        self._window_s = window_s
        self._max_addresses = max_addresses
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Seconds until this address may try again; 0 if it may now."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < self._attempts:
            return 0
        left = failures[0] + self._window_s - self._clock()
        return max(0, int(left) + 1) if left > 0 else 0

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        failures = self._failures.setdefault(address, deque(maxlen=self._attempts))
        failures.append(self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > self._max_addresses:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address that has shown the right token."""
        self._failures.pop(address, None)

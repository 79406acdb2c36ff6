"""How long to wait after a failure."""

from collections.abc import Callable
from random import random
from typing import Final

FIRST_S: Final = 0.25
CAP_S: Final = 30.0
LONGEST_RETRY_AFTER_S: Final = 3600.0


class Backoff:
    """Doubles the wait with each failure in a row, up to a cap, and spreads it.

    jitter: a number from 0 to 1, drawn for each wait, so that many who failed together do not
        come back together.
    """

    def __init__(
        self,
        first_s: float = FIRST_S,
        cap_s: float = CAP_S,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._jitter = jitter
        self.failures = 0

    def failed(self, retry_after_s: float | None = None) -> float:
        """Count a failure and return the seconds to wait.

        retry_after_s: what the other side asked for; kept, up to an hour.
        """
        self.failures += 1
        if retry_after_s is not None:
            asked_s = min(max(retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
            return asked_s * (1.0 + 0.1 * self._jitter())
        longest_s = min(self._first_s * 2.0 ** min(self.failures - 1, 30), self._cap_s)
        return longest_s * (0.5 + 0.5 * self._jitter())

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0

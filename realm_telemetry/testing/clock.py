"""A clock that stands still until it is advanced."""

from typing import Final

_START_NS: Final = 1_764_374_400_000_000_000


class FakeClock:
    """Both clocks of `time`, injected wherever code waits or looks at the time.

    now_ns: wall clock, from 2025-11-29T00:00:00Z.
    """

    def __init__(self, now_ns: int = _START_NS) -> None:
        self.now_ns = now_ns
        self._elapsed_ns = 0

    def time_ns(self) -> int:
        """Stands for `time.time_ns`."""
        return self.now_ns

    def time(self) -> float:
        """Stands for `time.time`."""
        return self.now_ns / 1e9

    def monotonic(self) -> float:
        """Stands for `time.monotonic`."""
        return self._elapsed_ns / 1e9

    def sleep(self, seconds: float) -> None:
        """Stands for `time.sleep`: the time passes without waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * 1e9)
        self._elapsed_ns += round(seconds * 1e9)

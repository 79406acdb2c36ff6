"""The addresses of services with one log: keep to the one that answers, pass over one that fails.

No I/O: whoever sends asks for the addresses of a request and says how each did.
"""

from collections.abc import Callable, Iterator
from typing import Final

from realm_telemetry.home.token import addresses_of
from realm_telemetry.values.clock import monotonic

ELSEWHERE: Final = frozenset({502, 503, 504})
"""Answers of a service, or of a proxy before it, that another service may not give."""

CONNECT_S: Final = 2.0
"""For a connection where there is another address to try."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0


class Addresses:
    """Several addresses, in the order in which they are tried. For one thread at a time.

    text: with commas between. current: the one that answered last, at first the first.
    """

    def __init__(self, text: str, clock: Callable[[], float] = monotonic) -> None:
        self.text = text
        self.all = [each.rstrip("/") for each in addresses_of(text)] or [text]
        self.current = self.all[0]
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._due_s: dict[str, float] = {}

    @property
    def are_several(self) -> bool:
        """Whether there is another one to try."""
        return len(self.all) > 1

    def turn(self) -> Iterator[tuple[str, bool]]:
        """Yield the addresses for one request, each with whether another one comes behind.

        The current one is first, then those behind it, round and round; one that failed a moment
        ago comes after all others.
        """
        start, now_s = self.all.index(self.current), self._clock()
        around = self.all[start:] + self.all[:start]
        # Stable: those that are due keep their order.
        around.sort(key=lambda url: max(self._due_s.get(url, 0.0) - now_s, 0.0))
        for place, url in enumerate(around):
            yield url, place < len(around) - 1

    def answered(self, url: str) -> None:
        """Keep to this one."""
        self.current = url
        self._failures.pop(url, None)
        self._due_s.pop(url, None)

    def failed(self, url: str, wait_s: float | None = None) -> None:
        """Pass over this one for a while, which doubles. wait_s: how long it asked for itself."""
        failures = self._failures[url] = self._failures.get(url, 0) + 1
        pause_s = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S)
        self._due_s[url] = self._clock() + max(pause_s, wait_s or 0.0)

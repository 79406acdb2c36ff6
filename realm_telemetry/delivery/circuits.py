"""Which hosts are left alone for now: a circuit breaker for each host and port.

A host that gave no answer several times in a row is not tried for a while (open), then once (half
open): that attempt closes its circuit, or opens it for twice as long. So one that hangs costs one
sender every few minutes, and not all senders all the time. A host may also ask for a pause itself.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec

FAILURES: Final = 3
"""Attempts in a row without an answer that open a circuit."""

FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 300.0

MAX_HOSTS: Final = 1000
"""Hosts with failures that are remembered; the one that failed longest ago is forgotten first."""

CircuitState = Literal["open", "half open"]


class OpenCircuit(msgspec.Struct, frozen=True):
    """A host that is left alone.

    place: host and port. wait_s: until it is tried again; 0 for half open.
    """

    place: str
    state: CircuitState
    failures: int
    wait_s: float
    reason: str


class _Circuit(msgspec.Struct):
    """What is known of a host. until_s: when it may be tried again, on the clock."""

    failures: int = 0
    pause_s: float = 0.0
    until_s: float | None = None
    reason: str = ""


class Circuits:
    """The circuits of one pool of senders; safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}
        self._lock = threading.Lock()

    def room(self, place: str, at_once: int) -> int:
        """Return how many attempts at once a host may have: `at_once` if it is well."""
        with self._lock:
            circuit = self._circuits.get(place)
            if circuit is None or circuit.until_s is None:
                return at_once
            return 0 if self._clock() < circuit.until_s else 1

    def answered(self, place: str) -> bool:
        """Close the circuit of a host; whether it was open. A pause it asked for is kept."""
        with self._lock:
            circuit = self._circuits.get(place)
            if circuit is None or self._asked_for_pause(circuit):
                return False
            del self._circuits[place]
            return circuit.until_s is not None

    def failed(self, place: str, reason: str) -> bool:
        """Count an attempt without an answer; whether it opened the circuit."""
        with self._lock:
            circuit = self._circuits.pop(place, None) or _Circuit()
            self._circuits[place] = circuit  # as the one that failed last
            if len(self._circuits) > MAX_HOSTS:
                del self._circuits[next(iter(self._circuits))]
            if circuit.until_s is not None and self._clock() < circuit.until_s:
                return False  # it began before the circuit was opened
            circuit.failures += 1
            circuit.reason = reason
            if circuit.failures < FAILURES:
                return False
            circuit.pause_s = min(2 * circuit.pause_s, LONGEST_PAUSE_S) or FIRST_PAUSE_S
            circuit.until_s = self._clock() + circuit.pause_s
            return True

    def hold(self, place: str, wait_s: float, reason: str) -> None:
        """Leave a host alone for as long as it has asked for."""
        with self._lock:
            circuit = self._circuits.setdefault(place, _Circuit())
            circuit.until_s = max(circuit.until_s or 0.0, self._clock() + wait_s)
            circuit.reason = reason

    def open(self) -> list[OpenCircuit]:
        """Return the hosts that are left alone."""
        now_s = self._clock()
        with self._lock:
            return [
                OpenCircuit(
                    place,
                    "open" if now_s < circuit.until_s else "half open",
                    circuit.failures,
                    max(circuit.until_s - now_s, 0.0),
                    circuit.reason,
                )
                for place, circuit in self._circuits.items()
                if circuit.until_s is not None
            ]

    def soonest_s(self) -> float | None:
        """Return the seconds until a host is tried again; None if none is left alone."""
        return min((circuit.wait_s for circuit in self.open()), default=None)

    def _asked_for_pause(self, circuit: _Circuit) -> bool:
        waits = circuit.until_s is not None and self._clock() < circuit.until_s
        return waits and circuit.failures < FAILURES

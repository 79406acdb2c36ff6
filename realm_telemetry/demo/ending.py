"""A training that ends in one of several ways: `python -m realm_telemetry.demo.ending WAY`.

It fits a line to points by gradient descent, in plain Python.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import realm_telemetry as realm

STEPS: Final = 40
PAUSE_S: Final = 0.05
_BREAKS_AT: Final = 25
_GOOD_RATE: Final = 0.1
_BAD_RATE: Final = 1e6
"""Each step overshoots more than the one before, until no float can hold the loss."""


def main() -> None:
    """Train, and end as the first argument says."""
    way = sys.argv[1]
    rate = _BAD_RATE if way == "nan" else _GOOD_RATE
    realm.configure(service_name="trainer")
    realm.training_started(model="line", total_steps=STEPS, learning_rate=rate)
    for step, loss in enumerate(_losses(rate), 1):
        realm.training_step(step=step, loss=loss, total_steps=STEPS)
        time.sleep(PAUSE_S)
        if step == _BREAKS_AT and way in BREAKS:
            BREAKS[way]()
    realm.training_completed(step=STEPS, loss=loss)


def _losses(rate: float) -> Iterator[float]:
    chance = random.Random(7)
    points = [(x / 20, 3 * x / 20 + 1 + chance.gauss(0, 0.1)) for x in range(20)]
    slope = offset = 0.0
    for _ in range(STEPS):
        errors = [(slope * x + offset - y, x) for x, y in points]
        slope -= rate * sum(error * x for error, x in errors) / len(points)
        offset -= rate * sum(error for error, _ in errors) / len(points)
        yield sum(error * error for error, _ in errors) / len(points)


def _raise() -> None:
    batch: dict[str, list[int]] = {"pixels": []}
    raise KeyError(f"'labels' is not among {sorted(batch)}")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    time.sleep(3600)


def _leave() -> None:
    os._exit(3)


BREAKS: Final[dict[str, Callable[[], None]]] = {
    "exception": _raise,
    "sigkill": _kill,
    "stall": _hang,
    "exit-code": _leave,
}
"""What happens at one step, by way; `nan` and `completed` need no help."""


if __name__ == "__main__":
    main()

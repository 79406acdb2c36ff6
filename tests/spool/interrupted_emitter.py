"""Append under a rain of KeyboardInterrupts, all swallowed. Prints `attempts interrupts`, then
the acknowledged numbers, one a line. Arguments: pipeline directory, producer."""

import signal
import sys
from pathlib import Path

from realm_telemetry.spool.writer import SpoolWriter

ATTEMPTS = 30_000


armed = False
attempts = [0]


def interrupt(signum: int, frame: object) -> None:
    """Raise once each time it is armed, so that swallowing is not interrupted again."""
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt


def append_until_interrupted(writer: SpoolWriter, acknowledged: list[int]) -> None:
    """Append numbered payloads; `attempts` counts in place.

    CPython 3.13.0 raises at a loop's jump back as if it stood outside the `try` round it, so
    nothing here may rely on `except` or `finally`.
    """
    global armed
    armed = True
    while attempts[0] < ATTEMPTS:
        attempts[0] += 1
        number = writer.append(b"%d" % attempts[0])
        acknowledged.append(number)
    armed = False


def main() -> None:
    sys.setswitchinterval(1e-6)
    writer = SpoolWriter(Path(sys.argv[1]), sys.argv[2])
    interrupts = 0
    acknowledged: list[int] = []
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    while attempts[0] < ATTEMPTS:
        try:
            append_until_interrupted(writer, acknowledged)
        except KeyboardInterrupt:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(attempts[0], interrupts)
    print("\n".join(map(str, acknowledged)))


if __name__ == "__main__":
    main()

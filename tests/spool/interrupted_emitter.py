"""Append under a rain of KeyboardInterrupts, all swallowed. Prints `attempts interrupts`, then
the acknowledged numbers, one a line. Arguments: pipeline directory, producer."""

import signal
import sys
from pathlib import Path

from realm_telemetry.spool.writer import SpoolWriter

ATTEMPTS = 30_000


armed = False


def interrupt(signum: int, frame: object) -> None:
    """Raise once each time it is armed, so that swallowing is not interrupted again."""
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt


def main() -> None:
    global armed
    sys.setswitchinterval(1e-6)
    writer = SpoolWriter(Path(sys.argv[1]), sys.argv[2])
    attempts = interrupts = 0
    acknowledged: list[int] = []
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    while attempts < ATTEMPTS:
        try:
            armed = True
            while attempts < ATTEMPTS:
                attempts += 1
                number = writer.append(b"%d" % attempts)
                acknowledged.append(number)
            armed = False
        except KeyboardInterrupt:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(attempts, interrupts)
    print("\n".join(map(str, acknowledged)))


if __name__ == "__main__":
    main()

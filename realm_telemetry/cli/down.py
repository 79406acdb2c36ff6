"""`realm down`: the end of the service that `realm up` or `realm serve` started."""

import os
import select
import signal
from pathlib import Path

from realm_telemetry.cli.command import command, timeout_option
from realm_telemetry.cli.problems import EXIT_PROBLEM, Problem, write_problem
from realm_telemetry.cli.terminal import line
from realm_telemetry.config import load_settings
from realm_telemetry.home import RunningService, running_service, said_service


@command(examples=(("realm down", "End the service of this home, if it runs."),))
@timeout_option(30.0, "How long to wait until it has ended.")
def down(timeout_s: float) -> int:
    """End the RealmService of this home; what it was sent is stored before.

    Programs go on: what they emit is kept, and served when it is up again.
    """
    home = load_settings().home
    running = said_service(home)
    if running is None:
        line(f"No service runs on {home}.")
        return 0
    if running.pid_namespace != Path("/proc/self/ns/pid").stat().st_ino:
        message = f"The service at {running.url} runs in another container."
        write_problem(Problem("elsewhere", message, "End it there.", EXIT_PROBLEM), False)
        return EXIT_PROBLEM
    if not _end(home, running, timeout_s):
        message = f"The service has not ended after {timeout_s:g} s."
        hint = f"End it at once: kill -9 {running.pid}"
        write_problem(Problem("not_ended", message, hint, EXIT_PROBLEM), False)
        return EXIT_PROBLEM
    line(f"The service at {running.url} has ended.")
    return 0


def _end(home: Path, running: RunningService, timeout_s: float) -> bool:
    try:
        process = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return True
    try:
        # Its lock on the file says that the pid was still its own.
        if running_service(home) == running:
            signal.pidfd_send_signal(process, signal.SIGTERM)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        return bool(ended.poll(timeout_s * 1000))
    finally:
        os.close(process)

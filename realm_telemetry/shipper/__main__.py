"""`python -m realm_telemetry.shipper --pipeline DIR`: the shipper as a process of its own."""

import argparse
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from realm_telemetry.errors import ConfigError, shown
from realm_telemetry.shipper.launch import LAUNCHER_FD, launch
from realm_telemetry.shipper.manifest import join_surroundings, read_manifest
from realm_telemetry.shipper.process_end import pass_on, take_over
from realm_telemetry.shipper.shipper import Shipper

LEAVE_WITHIN_S: Final = 1.8
LEAVE_WITH_JOB_S: Final = 20.0
"""Of the 30 s (KillWait) that Slurm gives all processes of a job between SIGTERM and SIGKILL."""

MOST_DESCRIPTORS: Final = 65_536
PLUGINS_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: list[str] | None = None) -> int:
    """Ship a pipeline until nothing is left; 0 also if another shipper has it."""
    parser = argparse.ArgumentParser(prog="realm_telemetry.shipper", description=__doc__)
    parser.add_argument("--pipeline", type=Path, required=True, metavar="DIR")
    parser.add_argument("--launcher", default="", metavar="PID:START")
    given = parser.parse_args(arguments)
    pipeline_dir: Path = given.pipeline
    if given.launcher:
        take_over(LAUNCHER_FD, given.launcher)
    try:
        manifest = read_manifest(pipeline_dir)
        join_surroundings(manifest)
        _raise_limits()
        logging.basicConfig(level=logging.WARNING, handlers=[_plugins_handler()])
        shipper = Shipper(pipeline_dir, manifest=manifest, launch=launch, stdio=True)
        end_on_signals(shipper)
        if not shipper.run():
            pass_on(pipeline_dir)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"shipper: {shown(str(error))}\n")
        return 1
    # An exporter that hangs keeps its thread; the interpreter would wait for what it holds.
    sys.stderr.flush()
    os._exit(0)


_OF_THE_PROGRAM: Final = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
)
"""Limits that a program sets itself, and its shipper inherits: what is too much for one training
is little for the log of all.
"""


def _raise_limits() -> None:
    """Raise limits as far as they go; of open files because some are held for each producer."""
    for limit in _OF_THE_PROGRAM:
        _, hard = resource.getrlimit(limit)
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _WithoutSecrets(logging.Formatter):
    """What plugins log has the addresses that they send to."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def _plugins_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutSecrets(PLUGINS_FORMAT))
    return handler


def end_on_signals(shipper: Shipper) -> None:
    """Leave on SIGTERM and SIGINT, even if the main thread hangs in the log.

    In a job of a batch scheduler SIGTERM comes to the programs as well, and nobody may be left on
    the host to say how they ended: there the shipper leaves after them.

    Python runs signal handlers in the main thread only, which may wait in SQLite for another
    program; so a thread of its own reads the signal from the wakeup descriptor. Leaving
    hard is safe: what is not committed is still in the spool.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    in_job = any(os.environ.get(name) for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"))
    signal.signal(signal.SIGINT, lambda *_: shipper.stop())
    signal.signal(
        signal.SIGTERM, lambda *_: shipper.leave_after_producers() if in_job else shipper.stop()
    )
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        with writing:
            number = reading.recv(1)[0]
            if in_job and number == signal.SIGTERM:
                shipper.leave_after_producers()
                reading.settimeout(LEAVE_WITH_JOB_S)
                with suppress(TimeoutError):
                    reading.recv(1)  # asked again
            shipper.stop()
            time.sleep(LEAVE_WITHIN_S)
            os._exit(0)

    threading.Thread(target=wait, name="realm-telemetry-signals", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())

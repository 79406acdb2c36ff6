"""Start the shipper as a process of its own, from within any producer.

`posix_spawn` runs no Python code between fork and exec, so it is safe beside threads. It starts a
short-lived parent that sets up the environment, forks the shipper and ends. So the shipper is not a
child of the producer, and a training process that waits for its own children never meets it.
"""

import os
import sys
from pathlib import Path
from typing import Final

from realm_telemetry.errors import ConfigError

# Variables that trace, slow down or join the shipper to the producer that happened to start it.
_DROPPED: Final = (
    "PYTHONASYNCIODEBUG",
    "PYTHONBREAKPOINT",
    "PYTHONDEVMODE",
    "PYTHONDUMPREFS",
    "PYTHONFAULTHANDLER",
    "PYTHONINSPECT",
    "PYTHONMALLOC",
    "PYTHONMALLOCSTATS",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONSTARTUP",
    "PYTHONTRACEMALLOC",
    "PYTHONVERBOSE",
    "PYTHONWARNINGS",
    "REALM_PIPELINE",
)
LAUNCHER_FD: Final = 3
"""Where a shipper finds the descriptor of the process that started it."""

# Where `opentelemetry-instrument` has its sitecustomize: a shipper is no part of the program.
_INSTRUMENTING: Final = "opentelemetry/instrumentation/auto_instrumentation"
_PARENT: Final = """
import os, sys
python, pipeline_dir, log_file, launcher = sys.argv[1:]
first = 4 if launcher else 3
os.umask(0o077)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
os.closerange(first, 1 << 20)
for attempt in (
    lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
    lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)),
    lambda: os.nice(5),
    lambda: open("/proc/self/oom_score_adj", "w").write("500"),
):
    try:
        attempt()
    except OSError:
        pass
try:
    os.makedirs(os.path.dirname(log_file), 0o700, exist_ok=True)
    # Never waiting: a pipe in the place of the file has no reader.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    log = os.open(log_file, flags, 0o600)
except OSError:
    log = os.open(os.devnull, os.O_WRONLY)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(log, 1)
os.dup2(log, 2)
os.closerange(first, 1 << 20)
command = [python, "-P", "-m", "realm_telemetry.shipper", "--pipeline", pipeline_dir]
os.execv(python, command + (["--launcher", launcher] if launcher else []))
"""


def launch(pipeline_dir: Path, python: str | None = None) -> int:
    """Start a shipper for a pipeline and return the pid of the short-lived parent.

    python: the interpreter; without it the one that runs this. A second shipper of a pipeline
    leaves at once, so this may be called whenever one seems to be missing. The caller hands
    the pid to `reap` a little later. Returns at once.
    Raises OSError if no process can be started, ConfigError if the pipeline has no manifest.
    """
    from realm_telemetry.shipper.manifest import read_manifest
    from realm_telemetry.shipper.process_end import own_process

    interpreter = python or sys.executable
    if not interpreter:
        raise ConfigError("python", "this process has no interpreter", "Use shipper='thread'.")
    log_file = read_manifest(pipeline_dir).shipper_log_path
    # By the shipper's first look at the spool this process may have ended.
    descriptor, launcher = own_process()
    arguments = [interpreter, "-I", "-S", "-c", _PARENT, interpreter]
    try:
        return os.posix_spawn(
            interpreter,
            [*arguments, str(pipeline_dir.absolute()), str(log_file), launcher],
            shipper_environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, LAUNCHER_FD)] if launcher else [],
            setsigmask=(),
            setsigdef=_signals_to_default(),
        )
    finally:
        if launcher:
            os.close(descriptor)


def reap(pid: int) -> bool:
    """Take leave of the short-lived parent; False while it still runs. Never waits."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # the program waits for any child, and met this one
        return True


def shipper_environment() -> dict[str, str]:
    """This process's environment, fit for a shipper whose working directory is `/`."""
    environment = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    package_root = str(Path(__file__).parent.parent.parent)
    entries = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    entries = [entry for entry in entries if not entry.rstrip("/").endswith(_INSTRUMENTING)]
    # Last: where this package was imported from, should the interpreter not find it itself.
    paths = [str(Path(entry).absolute()) for entry in entries] + [package_root]
    return environment | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _signals_to_default() -> list[int]:
    from signal import SIG_DFL, SIGKILL, SIGSTOP, getsignal, valid_signals

    return [
        number
        for number in valid_signals() - {SIGKILL, SIGSTOP}
        if number < 32 and getsignal(number) is not SIG_DFL
    ]

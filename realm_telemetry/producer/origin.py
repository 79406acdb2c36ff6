"""Where a run comes from: its command, code, launcher and scheduler, and an id made of these.

Read when a run begins, from the environment and by files alone: no process is started.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from realm_telemetry.shipper.process_end import host, stat_fields

MAX_COMMAND_CHARS: Final = 1_000
SHOWN_COMMAND_CHARS: Final = 120
OF_A_MODEL: Final = (
    "framework", "model", "parameters", "device", "devices", "precision", "world_size"
)  # fmt: skip
_MAX_GIT_BYTES: Final = 8 * 1024 * 1024
_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_RANDOM_CHARS: Final = 7
_START_TICKS: Final = 21
_JOBS: Final = (("slurm", "SLURM_JOB_ID"), ("pbs", "PBS_JOBID"), ("lsf", "LSB_JOBID"))


def facts(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the details of `run_started`, those that are not known left out."""
    found = {
        "command": command(),
        "cwd": _working_directory(),
        "git_commit": git_commit(),
        "python": sys.version.split()[0],
        "launcher": launcher(environ),
        "world_size": _first_number(environ, "WORLD_SIZE", "SLURM_NTASKS"),
        **scheduler_facts(environ),
        "attempt": _attempt(environ),
    }
    return {name: value for name, value in found.items() if value is not None}


def of_the_model(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first event of a run, such as `training_started`, says of what is trained."""
    return {name: details[name] for name in OF_A_MODEL if details.get(name) is not None}


def scheduler_facts(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return whose job this is and which, and of Slurm how often requeued, and its time limit."""
    scheduler, job_id = _job(environ)
    found = {
        "scheduler": scheduler,
        "scheduler_job_id": job_id,
        "scheduler_restarts": _first_number(environ, "SLURM_RESTART_COUNT"),
        "scheduler_ends_unix_s": _first_number(environ, "SLURM_JOB_END_TIME"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _job(environ: Mapping[str, str]) -> tuple[str, str] | tuple[None, None]:
    for scheduler, variable in _JOBS:
        job_id = environ.get(variable)
        if job_id:
            index = environ.get("LSB_JOBINDEX", "0") if scheduler == "lsf" else "0"
            return scheduler, job_id if index == "0" else f"{job_id}[{index}]"
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes", environ.get("POD_NAME") or os.uname().nodename
    return None, None


def command() -> str:
    """Return the command line of this process, as a shell takes it."""
    from shlex import join

    text = join(map(str, sys.orig_argv or sys.argv))
    return text if len(text) <= MAX_COMMAND_CHARS else text[: MAX_COMMAND_CHARS - 1] + "…"


def shortened(text: str) -> str:
    """Return a command for a message: one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_COMMAND_CHARS else line[: SHOWN_COMMAND_CHARS - 1] + "…"


def launcher(environ: Mapping[str, str]) -> str:
    """Return what started this process among others: accelerate, torchrun, slurm or none."""
    for name, variable in (
        ("accelerate", "ACCELERATE_MIXED_PRECISION"),
        ("torchrun", "TORCHELASTIC_RUN_ID"),
        ("slurm", "SLURM_JOB_ID"),
    ):
        if environ.get(variable):
            return name
    return "none"


def _attempt(environ: Mapping[str, str]) -> int | None:
    restarts = _first_number(environ, "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return None if restarts is None else restarts + 1


def _first_number(environ: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        text = environ.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 11:
            return int(text)
    return None


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # deleted
        return None


def git_commit() -> str | None:
    """Return the commit of the code that runs: of the script's repository, or else of the cwd's."""
    for place in (_script_directory(), _working_directory()):
        if place is None:
            continue
        for directory in (Path(place), *Path(place).parents):
            if os.path.exists(directory / ".git"):  # noqa: PTH110 - which may not be looked at
                return _commit_of(directory / ".git")
    return None


def _script_directory() -> str | None:
    """Where the program's script is; None for one that is installed."""
    script = str(sys.argv[0]) if sys.argv else ""
    try:
        path = Path(script).absolute()
        if not path.is_file() or path.is_relative_to(sys.prefix):
            return None
        return str(path.resolve().parent)
    except (OSError, ValueError, RuntimeError):
        return None


def _commit_of(git: Path) -> str | None:
    """Read what HEAD is. Source: gitrepository-layout(5)."""
    try:
        if git.is_file():  # a worktree, or a submodule
            git = git.parent / _text_of(git).removeprefix("gitdir:").strip()
        head = _text_of(git / "HEAD").strip()
        if not head.startswith("ref:"):
            return _if_commit(head)
        name = head.removeprefix("ref:").strip()
        shared = git / "commondir"
        roots = [git, git / _text_of(shared).strip()] if shared.exists() else [git]
        for root in roots:
            if (root / name).is_file():
                return _if_commit(_text_of(root / name).strip())
        return _packed(roots[-1] / "packed-refs", name)
    except (OSError, ValueError):
        return None


def _packed(path: Path, name: str) -> str | None:
    lines = _text_of(path).splitlines() if path.exists() else []
    found = (line.partition(" ")[0] for line in lines if line.endswith(f" {name}"))
    return _if_commit(next(found, ""))


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MAX_GIT_BYTES).decode("utf-8", "replace")


def _if_commit(text: str) -> str | None:
    return text if len(text) in (40, 64) and set(text) <= set("0123456789abcdef") else None


def random_id() -> str:
    """Return a run id that no other process makes: date, time of day, 35 random bits."""
    letters = (_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(_RANDOM_CHARS))
    return _named(time.localtime(), "".join(letters))


def launch_id(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return one run id for all ranks of a torchrun on one host that was given no id itself.

    They have the agent that started them in common, across restarts too; ranks on several hosts
    have nothing. None where that does not hold.
    """
    ranks = _first_number(environ, "WORLD_SIZE")
    alone = ranks is not None and ranks == _first_number(environ, "LOCAL_WORLD_SIZE")
    if "TORCHELASTIC_RUN_ID" not in environ or not alone:
        return None
    agent = os.getppid()
    fields = stat_fields(str(agent))
    if fields is None:
        return None
    ticks = int(fields[_START_TICKS])
    began_s = _boot_s() + ticks // os.sysconf("SC_CLK_TCK")
    seed = f"{host()} {agent} {ticks}".encode("utf-8", "replace")
    number, letters = crc32(seed) | crc32(seed[::-1]) << 32, ""
    for _ in range(_RANDOM_CHARS):
        number, digit = divmod(number, len(_LETTERS))
        letters += _LETTERS[digit]
    return _named(time.localtime(began_s), letters)


def _boot_s() -> int:
    """When the host started, the same number in all processes; 0 if it cannot be read."""
    try:
        lines = _text_of(Path("/proc/stat")).splitlines()
    except OSError:
        lines = []
    return next((int(line.split()[1]) for line in lines if line.startswith("btime ")), 0)


def _named(moment: time.struct_time, letters: str) -> str:
    return time.strftime("train-%m%d-%H%M-", moment) + letters

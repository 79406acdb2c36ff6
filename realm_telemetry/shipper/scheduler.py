"""What a scheduler says of the end of its job: asked late, with a deadline, never by a training.

`scontrol show job` knows a job until some minutes after its end, `sacct` longer where it is set up.
While the processes of a job end its state is COMPLETING, which hides why; then other fields of the
record tell, or the line that slurmstepd writes into the job's own error output.
Source: scontrol(1), sacct(1) "JOB STATE CODES", slurm/src/slurmd/slurmstepd/req.c.

PBS and Torque are asked by `qstat -f` (`-x` for a job that has ended), LSF by `bjobs`. A container
of Kubernetes can ask nobody: what somebody has written into its termination log is evidence.
Source: openpbs/src/include/job.h, the tables of exit codes of PBS and Torque, bjobs(1) -o.
"""

import os
import re
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from realm_telemetry.values.clock import Deadline, monotonic

PREEMPTED: Final = "preempted"
REQUEUED: Final = "requeued"
CANCELLED: Final = "cancelled"
TIME_LIMIT: Final = "time_limit"
OUT_OF_MEMORY: Final = "out_of_memory"

ASK_S: Final = 6.0
"""How long to ask: a job that was cancelled has its last state once its processes are gone."""

AGAIN_S: Final = 0.5
LATE_S: Final = 120.0
"""A job that ended so long after the last event of a process need not be what ended that one."""

TIME_LIMIT_SLACK_S: Final = 5
_MAX_ASKED: Final = 64
_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_OUTPUT_BYTES: Final = 8 * 1024

SLURM: Final = "slurm"
PBS: Final = "pbs"
LSF: Final = "lsf"
KUBERNETES: Final = "kubernetes"

TERMINATION_LOG: Final = Path("/dev/termination-log")
"""Of a container of Kubernetes; hooks and programs write there."""

_MAX_WORD_CHARS: Final = 200

_CAUSES: Final[Mapping[str, str]] = {
    "CANCELLED": CANCELLED,
    "TIMEOUT": TIME_LIMIT,
    "DEADLINE": TIME_LIMIT,
    "PREEMPTED": PREEMPTED,
    "REQUEUED": REQUEUED,
    "OUT_OF_MEMORY": OUT_OF_MEMORY,
}
"""By the state of a job that has ended."""

_CAUSES_OF_LINE: Final[Mapping[str, str]] = {
    "": CANCELLED,
    "TIME LIMIT": TIME_LIMIT,
    "PREEMPTION": PREEMPTED,
    "JOB REQUEUE": REQUEUED,
}
_LINE: Final = re.compile(
    r"\*\*\* (?:JOB|STEP) (\d+)\S* ON \S+ CANCELLED AT (\S+)(?: DUE TO ([A-Z ]+?))? \*\*\*"
)
_CAUSES_OF_PBS: Final[Mapping[tuple[str, str], str]] = {
    ("Exit_status", "-29"): TIME_LIMIT,
    ("Exit_status", "-28"): TIME_LIMIT,  # of its processor time
    ("Exit_status", "-27"): OUT_OF_MEMORY,
    ("Exit_status", "-26"): OUT_OF_MEMORY,
    ("exit_status", "-12"): TIME_LIMIT,
    ("exit_status", "-11"): TIME_LIMIT,
    ("exit_status", "-10"): OUT_OF_MEMORY,
}
"""By the exit status of a job; Torque writes it small, and counts otherwise."""

_SIGNALLED_IN_PBS: Final = ("271", "265")
"""256 and the number of SIGTERM or SIGKILL."""

_DELETED_IN_PBS: Final = "91"
"""The substate of a job that `qdel` has ended."""

_CAUSES_OF_LSF: Final[Mapping[str, str]] = {
    **dict.fromkeys(("OWNER", "ADMIN", "FORCE_OWNER", "FORCE_ADMIN"), CANCELLED),
    **dict.fromkeys(("RUNLIMIT", "CPULIMIT", "DEADLINE"), TIME_LIMIT),
    "PREEMPT": PREEMPTED,
    **dict.fromkeys(("REQUEUE_OWNER", "REQUEUE_ADMIN"), REQUEUED),
    **dict.fromkeys(("MEMLIMIT", "SWAP"), OUT_OF_MEMORY),
}
_TERM: Final = re.compile(r"\s*TERM_([A-Z_]+)\b")
_UNSETTLED: Final = frozenset({"COMPLETING", "R", "E", "RUN"})
"""States of a job whose processes end, or have just ended."""

_NAMES: Final = frozenset({"JobState", "Reason", "Restarts", "EndTime", "StartTime", "PreemptTime"})
_LINE_STARTS: Final = frozenset({"JobState", "Requeue", "StartTime", "PreemptEligibleTime"})


class Job(NamedTuple):
    """A job as its processes know it.

    restarts: how often it was requeued before. ends_unix_s: the time limit, None if not known.
    last_event_unix_s: when the process gave its last sign of life, where its end was not seen.
    scheduler: whose job it is: slurm, pbs, lsf or kubernetes.
    """

    id: str
    restarts: int = 0
    ends_unix_s: int | None = None
    last_event_unix_s: float | None = None
    scheduler: str = SLURM


class SchedulerWord(NamedTuple):
    """What the scheduler says.

    cause: one of the constants above; empty where the record does not explain an end.
    state: of the job. source: who says so.
    """

    cause: str
    state: str
    source: str

    @property
    def evidence(self) -> dict[str, str]:
        """As `run_ended` has it."""
        return {"job_state": self.state, "source": self.source}


def ask(job: Job, timeout_s: float = ASK_S) -> SchedulerWord | None:
    """Ask until the record is settled, or for so long; None where there is none."""
    deadline = Deadline(timeout_s)
    word = _ask_once(job, deadline)
    while word is not None and not word.cause and word.state in _UNSETTLED:
        if not deadline.wait(min(AGAIN_S, max(deadline.left_s, 0.0))) or deadline.left_s <= 0:
            break
        word = _ask_once(job, deadline) or word
    if word is None and job.ends_unix_s and time.time() >= job.ends_unix_s - TIME_LIMIT_SLACK_S:
        return SchedulerWord(TIME_LIMIT, "unknown", "SLURM_JOB_END_TIME")
    return word


def _ask_once(job: Job, deadline: Deadline) -> SchedulerWord | None:
    return _ASKED[job.scheduler](job, deadline) if job.scheduler in _ASKED else None


def _ask_slurm(job: Job, deadline: Deadline) -> SchedulerWord | None:
    shown = _printed(["scontrol", "show", "job", job.id], deadline)
    word = read_scontrol(shown, job)
    if word is None:
        columns = "--format=JobIDRaw,State,End"
        command = ["sacct", "-X", "--noheader", "--parsable2", "-j", job.id, columns]
        word = read_sacct(_printed(command, deadline), job)
    return word


def _ask_pbs(job: Job, deadline: Deadline) -> SchedulerWord | None:
    for options in (("-x", "-f"), ("-f",)):  # the history of PBS; Torque has none, and no -x
        word = read_qstat(_printed(["qstat", *options, job.id], deadline), job)
        if word is not None:
            return word
    return None


def _ask_lsf(job: Job, deadline: Deadline) -> SchedulerWord | None:
    columns = "jobid stat exit_reason:200 delimiter='|'"
    return read_bjobs(_printed(["bjobs", "-noheader", "-o", columns, job.id], deadline), job)


def _ask_kubernetes(_job: Job, _deadline: Deadline) -> SchedulerWord | None:
    words = " ".join(_end_of(str(TERMINATION_LOG)).split())[:_MAX_WORD_CHARS]
    return SchedulerWord("", words, str(TERMINATION_LOG)) if words else None


_ASKED: Final[Mapping[str, Callable[[Job, Deadline], SchedulerWord | None]]] = {
    SLURM: _ask_slurm,
    PBS: _ask_pbs,
    LSF: _ask_lsf,
    KUBERNETES: _ask_kubernetes,
}


def _printed(command: list[str], deadline: Deadline) -> str:
    """What a command printed within the deadline; empty if it failed or is not there."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=max(deadline.left_s, 0.1),
            env={**os.environ, "SLURM_TIME_FORMAT": "standard", "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return "" if done.returncode else done.stdout[:_MAX_ANSWER_BYTES].decode("utf-8", "replace")


def read_scontrol(shown: str, job: Job) -> SchedulerWord | None:
    """Read what `scontrol show job` printed; None without a record of the job."""
    for record in re.split(r"\n\s*\n", shown):
        if record.startswith(f"JobId={job.id} ") or record.strip() == f"JobId={job.id}":
            return _of_record(record, job)
    return None


def _of_record(record: str, job: Job) -> SchedulerWord:
    fields = _fields(record)
    state = fields.get("JobState", "")
    restarts = fields.get("Restarts", "0")
    if restarts.isdigit() and int(restarts) > job.restarts:
        preempted = fields.get("PreemptTime", "None") not in ("None", "Unknown", "N/A")
        return SchedulerWord(PREEMPTED if preempted else REQUEUED, state, "scontrol")
    cause = _CAUSES.get(state, "")
    if not cause and state == "COMPLETING":
        cause = _while_completing(fields, job)
    return SchedulerWord(cause if _is_near(fields.get("EndTime"), job) else "", state, "scontrol")


def _while_completing(fields: Mapping[str, str], job: Job) -> str:
    if fields.get("PreemptTime", "None") not in ("None", "Unknown", "N/A"):
        return PREEMPTED
    if fields.get("Reason") == "TimeLimit":
        return TIME_LIMIT
    return _of_output(fields.get("StdErr", ""), _unix_s(fields.get("StartTime")), job)


def _fields(record: str) -> dict[str, str]:
    """The fields that count, each from the line that Slurm puts it on.

    Texts of the user, such as the job's name, are on lines of their own and end those.
    """
    found: dict[str, str] = {}
    for line in record.splitlines():
        words = line.split()
        if words and words[0].startswith("StdErr="):
            found["StdErr"] = line.strip().removeprefix("StdErr=")
        elif words and words[0].partition("=")[0] in _LINE_STARTS:
            pairs = (word.partition("=") for word in words)
            found |= {name: value for name, _, value in pairs if name in _NAMES}
    return found


def _of_output(path: str, since_unix_s: float | None, job: Job) -> str:
    """The cause in the last line of slurmstepd about the job, in the file of its error output."""
    lines = [each for each in _LINE.findall(_end_of(path)) if each[0] == job.id]
    if not lines:
        return ""
    _, moment, due_to = lines[-1]
    at_unix_s = _unix_s(moment)
    if since_unix_s is not None and at_unix_s is not None and at_unix_s < since_unix_s:
        return ""  # of an earlier attempt, whose file this one goes on with
    return _CAUSES_OF_LINE.get(due_to, "")


def _end_of(path: str) -> str:
    """The end of a regular file; empty where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return ""
        file.seek(max(found.st_size - _MAX_OUTPUT_BYTES, 0))
        return file.read(_MAX_OUTPUT_BYTES).decode("utf-8", "replace")


def read_sacct(printed: str, job: Job) -> SchedulerWord | None:
    """Read what `sacct` printed: job, state, end; None without a record of the job."""
    for line in printed.splitlines():
        columns = line.split("|")
        if len(columns) == 3 and columns[0] == job.id:
            state = columns[1].partition(" ")[0]  # "CANCELLED by 1000"
            cause = _CAUSES.get(state, "") if _is_near(columns[2], job) else ""
            return SchedulerWord(cause, columns[1], "sacct")
    return None


def read_qstat(printed: str, job: Job) -> SchedulerWord | None:
    """Read what `qstat -f` printed; None without a record of the job."""
    lines = printed.splitlines()
    if not lines or lines[0].strip() not in (f"Job Id: {job.id}", f"Job ID: {job.id}"):
        return None
    # A long value goes on in lines that begin with a tab, which may look like anything.
    pairs = [line.strip().partition(" = ") for line in lines[1:] if line.startswith("    ")]
    fields: dict[str, str] = {}
    for name, _, value in pairs:
        fields.setdefault(name, value)
    state = fields.get("job_state", "")
    cause = _cause_in_pbs(fields, state)
    if job.last_event_unix_s is not None:
        ended_unix_s = _ctime_s(fields.get("mtime", ""))
        is_near = ended_unix_s is not None and ended_unix_s - job.last_event_unix_s <= LATE_S
        cause = cause if is_near else ""
    return SchedulerWord(cause, state, "qstat")


def _cause_in_pbs(fields: Mapping[str, str], state: str) -> str:
    if state in ("Q", "H", "W"):  # it waits again, and has run: this process was of it
        return REQUEUED
    for name in ("Exit_status", "exit_status"):
        cause = _CAUSES_OF_PBS.get((name, fields.get(name, "")))
        if cause:
            return cause
        if fields.get(name) in _SIGNALLED_IN_PBS and _reached_walltime(fields):
            return TIME_LIMIT
    is_over = state in ("F", "C")
    return CANCELLED if is_over and fields.get("substate") == _DELETED_IN_PBS else ""


def _reached_walltime(fields: Mapping[str, str]) -> bool:
    used = _clock_s(fields.get("resources_used.walltime"))
    most = _clock_s(fields.get("Resource_List.walltime"))
    return used is not None and most is not None and used >= most


def _clock_s(text: str | None) -> int | None:
    """Read hours, minutes and seconds."""
    parts = (text or "").split(":")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return None
    return int(parts[0]) * 3600 + int(parts[1]) * 60 + int(parts[2])


def _ctime_s(text: str) -> float | None:
    """Read a time as PBS prints it: local, without a zone."""
    try:
        return time.mktime(time.strptime(text, "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None


def read_bjobs(printed: str, job: Job) -> SchedulerWord | None:
    """Read what `bjobs` printed: job, state, reason; None without a record of the job."""
    for line in printed.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 3 and columns[0] == job.id.partition("[")[0]:
            state, reason = columns[1:]
            found = _TERM.match(reason)
            cause = _CAUSES_OF_LSF.get(found[1], "") if found else ""
            if state == "PEND" and not cause:
                cause = REQUEUED
            if job.last_event_unix_s is not None:
                cause = ""  # when the job ended is not known
            shown = f"{state} TERM_{found[1]}" if found else state
            return SchedulerWord(cause, shown, "bjobs")
    return None


def _is_near(end: str | None, job: Job) -> bool:
    """Whether the end of a job may be what ended a process that was last heard at some time."""
    end_unix_s = _unix_s(end)
    if job.last_event_unix_s is None or end_unix_s is None:
        return True
    return end_unix_s - job.last_event_unix_s <= LATE_S


def _unix_s(moment: str | None) -> float | None:
    """Read a time as Slurm prints it: local, without a zone."""
    try:
        return datetime.fromisoformat(moment or "").timestamp()
    except (ValueError, OverflowError):
        return None


class _Inquiry:
    """A question that a thread of its own waits for."""

    def __init__(self, job: Job, ask: Callable[[Job], SchedulerWord | None]) -> None:
        self.began_s = monotonic()
        self.answered = False
        self.word: SchedulerWord | None = None
        self._job = job
        self._ask = ask

    def run(self) -> None:
        """Ask, and keep the answer."""
        with suppress(Exception):  # what other software prints may have any form
            self.word = self._ask(self._job)
        self.answered = True

    @property
    def is_old(self) -> bool:
        """Whether the job may have ended since."""
        return self.answered and monotonic() - self.began_s > ASK_S * 2


class Inquiries:
    """Asks about jobs, once for all processes of a job that ended together.

    ask: as above.
    """

    def __init__(self, ask: Callable[[Job], SchedulerWord | None] = ask) -> None:
        self._ask = ask
        self._asked: dict[Job, _Inquiry] = {}

    def answer(self, job: Job) -> _Inquiry:
        """Return the inquiry about a job; the first call begins it."""
        found = self._asked.get(job)
        if found is not None and not found.is_old:
            return found
        while len(self._asked) >= _MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        inquiry = self._asked[job] = _Inquiry(job, self._ask)
        thread = threading.Thread(target=inquiry.run, name="realm-telemetry-job", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is to be had
            inquiry.answered = True
        return inquiry


def job_of(details: Mapping[str, Any]) -> Job | None:
    """Return the job that a `run_started` names; None if it names none."""
    name = details.get("scheduler_job_id")
    if name is None:
        return None
    restarts, ends = details.get("scheduler_restarts"), details.get("scheduler_ends_unix_s")
    return Job(
        str(name),
        restarts if type(restarts) is int else 0,
        ends if type(ends) is int else None,
        scheduler=str(details.get("scheduler") or SLURM),
    )

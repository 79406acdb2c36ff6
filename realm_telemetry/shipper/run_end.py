"""Why the process of a run ended: the first row of a table that fits what is known of its end."""

from collections.abc import Callable, Mapping
from signal import (
    SIGABRT,
    SIGBUS,
    SIGFPE,
    SIGHUP,
    SIGILL,
    SIGINT,
    SIGKILL,
    SIGSEGV,
    SIGTERM,
    SIGUSR2,
    SIGXCPU,
    SIGXFSZ,
    Signals,
)
from typing import Any, Final, NamedTuple

from realm_telemetry.shipper.process_end import ProcessEnd, ProcessorTime
from realm_telemetry.shipper.scheduler import (
    CANCELLED,
    LSF,
    OUT_OF_MEMORY,
    PBS,
    PREEMPTED,
    REQUEUED,
    SLURM,
    TIME_LIMIT,
    SchedulerWord,
)

_CRASHES: Final = (SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL)
_SENT: Final[Mapping[str, tuple[int, ...]]] = {LSF: (SIGUSR2, SIGINT, SIGTERM, SIGKILL)}
"""What a scheduler ends processes with, where that is more than SIGTERM and SIGKILL."""

_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    SLURM: ("Slurm", "scancel"),
    PBS: ("PBS", "qdel"),
    LSF: ("LSF", "bkill"),
}
"""How people call a scheduler, and the command that ends a job."""

_SHELL: Final = 128
"""What programs that end by themselves after a signal add to its number, as a shell does."""

FULL: Final = 0.95
"""Of the memory: what was killed then was probably killed for want of it."""

COMPLETED: Final = "completed"
SEVERITIES: Final[Mapping[str, str]] = {COMPLETED: "success", "cancelled": "warning"}
"""Severity of a `run_ended` by its status; of any other it is an error."""


SIGNALLED: Final = "signalled"
"""What the last stack of a process was written for, where it was no crash."""

_OF_CRASHES: Final[Mapping[str, Signals]] = {
    "Segmentation fault": SIGSEGV,
    "Aborted": SIGABRT,
    "Bus error": SIGBUS,
    "Floating point exception": SIGFPE,
    "Illegal instruction": SIGILL,
}
"""Signals by what `faulthandler` calls them."""


class EndFacts(NamedTuple):
    """What is known of the end of a process.

    end: what the kernel says of it.
    error: the exception that ended the program, as text; None if none was seen.
    scheduled: whether a batch scheduler started it.
    container_kills, host_kills: processes that the kernel killed for want of memory while it ran,
        in its container and on its host; None where that cannot be read.
    printed: an exception that stands in its output, where `error` is not known.
    memory_share: how much of its container's limit, or of its host's memory, was used at last.
    scheduler: what the scheduler says of the job; None where it was not asked or does not answer.
    stack: where the kernel does not say how it ended, what it wrote its last stack for: the crash
        as `faulthandler` calls it, or SIGNALLED for a signal that ends programs by default.
    asked, sender: a signal that had asked it to end shortly before, and who sent that; where its
        parent knows.
    job_of: which scheduler started it, if one did.
    processor: its processor time when last looked at, where that has a limit.
    exits: whether its main thread had ended with the error before.
    """

    end: ProcessEnd
    error: str | None = None
    scheduled: bool = False
    container_kills: int | None = None
    host_kills: int | None = None
    memory_share: float | None = None
    printed: str | None = None
    scheduler: SchedulerWord | None = None
    stack: str | None = None
    asked: int | None = None
    sender: str | None = None
    job_of: str = SLURM
    processor: ProcessorTime | None = None
    exits: bool = False

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it, or what a shell waited for that says so by its exit code."""
        return self.died_of(SIGKILL) or (self.left_with(SIGKILL) and self.error is None)

    @property
    def crash(self) -> str | None:
        """The crash that its last stack names."""
        return None if self.end.known or self.stack == SIGNALLED else self.stack

    @property
    def was_signalled(self) -> bool:
        """Whether it died of a signal, without the kernel's word of which."""
        return not self.end.known and self.stack == SIGNALLED

    @property
    def may_be_by_scheduler(self) -> bool:
        """Whether it ended as a scheduler ends processes, or nobody knows how."""
        unknown = not self.end.known and self.error is None
        sent = _SENT.get(self.job_of, (SIGTERM, SIGKILL))
        by_term = self.left_with(SIGTERM) or self.left_after(SIGTERM)
        return unknown or by_term or self.died_of(*sent)

    def ended_by_scheduler(self, cause: str) -> bool:
        """Whether the scheduler says that it ended the job for a cause."""
        word = self.scheduler
        return word is not None and word.cause == cause and self.may_be_by_scheduler

    @property
    def memory_was_full(self) -> bool:
        """Whether nearly all memory was used shortly before."""
        return self.memory_share is not None and self.memory_share >= FULL

    @property
    def was_near_its_time_limit(self) -> bool:
        """Whether the kernel may have taken its processor time for used up."""
        return self.processor is not None and self.processor.is_nearly_used_up

    def died_of(self, *signals: int) -> bool:
        """Whether one of these signals ended it."""
        return self.end.signal in signals

    def left_with(self, *signals: int) -> bool:
        """Whether it ended by itself because of one of these signals."""
        return self.end.code in [_SHELL + number for number in signals]

    def left_after(self, *signals: int) -> bool:
        """Whether it ended by itself, with any code, after one of these had asked it to."""
        return self.end.code is not None and self.asked in signals


class Verdict(NamedTuple):
    """status: as `run_ended` has it. evidence: the facts that it rests on."""

    status: str
    reason: str
    evidence: dict[str, Any]

    @property
    def severity(self) -> str:
        """Of the event that says so."""
        return SEVERITIES.get(self.status, "error")


_Row = tuple[Callable[[EndFacts], Any], str, str]

_ROWS: Final[tuple[_Row, ...]] = (
    (
        lambda facts: facts.was_killed and facts.container_kills,
        "out_of_memory",
        "the container reached its memory limit",
    ),
    (
        lambda facts: facts.was_killed and facts.host_kills,
        "out_of_memory",
        "the host ran out of memory (probable)",
    ),
    (
        lambda facts: facts.ended_by_scheduler(PREEMPTED),
        "preempted",
        "{scheduler} gave its place to another job",
    ),
    (lambda facts: facts.ended_by_scheduler(REQUEUED), "preempted", "{scheduler} requeued the job"),
    (lambda facts: facts.ended_by_scheduler(CANCELLED), "cancelled", "{cancel}"),
    (lambda facts: facts.ended_by_scheduler(TIME_LIMIT), "killed", "time limit of {scheduler}"),
    (
        lambda facts: facts.ended_by_scheduler(OUT_OF_MEMORY),
        "out_of_memory",
        "the job reached its memory limit of {scheduler}",
    ),
    (
        lambda facts: facts.was_killed and facts.processor and facts.processor.is_used_up,
        "killed",
        "time limit of the processor ({limit:g} s, by ulimit -t or RLIMIT_CPU)",
    ),
    (
        lambda facts: facts.was_killed and facts.was_near_its_time_limit,
        "killed",
        "SIGKILL, probably the time limit of the processor ({used:g} of {limit:g} s were used)",
    ),
    (
        lambda facts: facts.was_killed and facts.memory_was_full,
        "killed",
        "SIGKILL, probably out of memory ({share:.0%} of it was used)",
    ),
    (lambda facts: facts.died_of(SIGKILL), "killed", "SIGKILL, sender unknown"),
    (
        lambda facts: facts.was_killed,
        "killed",
        "SIGKILL (exit code {code}), sender unknown",
    ),
    (lambda facts: facts.died_of(*_CRASHES), "crashed", "{signal}"),
    (
        lambda facts: facts.left_with(*_CRASHES) and facts.error is None,
        "crashed",
        "{left} (exit code {code})",
    ),
    (
        lambda facts: (
            facts.scheduled
            and (facts.died_of(SIGTERM) or facts.left_with(SIGTERM) or facts.left_after(SIGTERM))
        ),
        "terminated",
        "SIGTERM by the scheduler, cause unknown",
    ),
    (lambda facts: facts.died_of(SIGTERM, SIGHUP), "killed", "{signal}"),
    (lambda facts: facts.left_with(SIGTERM), "killed", "SIGTERM (exit code {code})"),
    (lambda facts: facts.left_with(SIGHUP), "killed", "SIGHUP (exit code {code})"),
    (
        lambda facts: facts.left_after(SIGTERM, SIGHUP),
        "killed",
        "{asked} from {sender} (exit code {code})",
    ),
    (lambda facts: facts.died_of(SIGINT), "cancelled", "{signal}"),
    (lambda facts: facts.left_with(SIGINT), "cancelled", "SIGINT (exit code {code})"),
    (
        # Python exits with 1 after Ctrl-C in many programs; with 0 it may have gone on to its end.
        lambda facts: facts.left_after(SIGINT) and facts.end.code and not facts.error,
        "cancelled",
        "SIGINT from {sender} (exit code {code})",
    ),
    (lambda facts: facts.died_of(SIGXCPU), "killed", "time limit (SIGXCPU)"),
    (lambda facts: facts.left_with(SIGXCPU), "killed", "time limit (SIGXCPU, exit code {code})"),
    (
        lambda facts: facts.died_of(SIGXFSZ),
        "killed",
        "SIGXFSZ, a file reached the limit of its size",
    ),
    (lambda facts: facts.end.signal, "killed", "{signal}"),
    (lambda facts: facts.end.code and facts.error, "failed", "{error}"),
    (lambda facts: facts.end.code and facts.printed, "failed", "{printed} (from the output)"),
    (lambda facts: facts.end.code, "failed", "exit code {code}"),
    (lambda facts: facts.end.known, COMPLETED, "exit code 0"),
    (lambda facts: facts.crash, "crashed", "{crash}"),
    (
        lambda facts: facts.scheduled and facts.was_signalled,
        "terminated",
        "a signal such as SIGTERM, by the scheduler, cause unknown",
    ),
    (lambda facts: facts.was_signalled, "killed", "a signal such as SIGTERM, which is unknown"),
    (lambda facts: facts.error, "failed", "{error}"),
    (
        lambda facts: facts.container_kills,
        "lost",
        "no word of its end; probably out of memory: the container reached its limit",
    ),
    (
        lambda facts: facts.memory_was_full,
        "lost",
        "no word of its end; probably out of memory ({share:.0%} of it was used)",
    ),
    (lambda _: True, "lost", "no word of its end"),
)
"""When, status, reason; the first row that fits."""


def judge(facts: EndFacts) -> Verdict:
    """Return how and why a process ended."""
    status, reason = next((status, reason) for fits, status, reason in _ROWS if fits(facts))
    scheduler, cancel = _NAMES.get(facts.job_of, _NAMES[SLURM])
    values = {
        "scheduler": scheduler,
        "cancel": cancel,
        "signal": _name(facts.end.signal),
        "code": facts.end.code,
        "error": facts.error,
        "printed": facts.printed,
        "share": facts.memory_share,
        "crash": _crash(facts.crash),
        "asked": _name(facts.asked),
        "sender": facts.sender,
        "limit": facts.processor and facts.processor.limit_s,
        "used": facts.processor and facts.processor.used_s,
        "left": _name((facts.end.code or 0) - _SHELL),
    }
    reason = reason.format(**values)
    if facts.end.signal and facts.exits and facts.error:
        reason += f"; it had not come to its end after {facts.error}"
    return Verdict(status, reason, _evidence(facts, values))


def _evidence(facts: EndFacts, values: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "exit_code": facts.end.code,
        "signal": values["signal"] or values["crash"],
        "exception": facts.error,
        "printed": facts.printed if facts.end.code and not facts.error else None,
        "kills_in_container": facts.container_kills or None,
        "kills_on_host": facts.host_kills or None,
        "memory_share": facts.memory_share if facts.memory_was_full else None,
        "scheduler": facts.scheduler.evidence if facts.scheduler else facts.scheduled or None,
        "cpu_limit_s": values["limit"] if facts.was_near_its_time_limit else None,
        "cpu_used_s": values["used"] if facts.was_near_its_time_limit else None,
        "asked_to_end": values["asked"],
        "sender": facts.sender if facts.asked is not None else None,
        "stack": "written as it died" if facts.stack and not facts.end.known else None,
        "exit_status": None if facts.end.known else "unknown",
    }
    return {name: value for name, value in found.items() if value is not None}


def _crash(called: str | None) -> str | None:
    return None if called is None else _name(_OF_CRASHES.get(called)) or called


def _name(signal: int | None) -> str | None:
    if signal is None:
        return None
    try:
        return Signals(signal).name
    except ValueError:  # a real-time signal
        return f"signal {signal}"

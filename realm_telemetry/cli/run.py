"""`realm run`: a command, and how it ends."""

import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
import msgspec

from realm_telemetry.cli.capture import Capture
from realm_telemetry.cli.command import command
from realm_telemetry.cli.supervisor import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    Ended,
    Supervisor,
    end_like,
)
from realm_telemetry.cli.terminal import note
from realm_telemetry.config import OF_COMMAND, run_of_launch
from realm_telemetry.errors import ConfigError
from realm_telemetry.home import RunningService, running_service
from realm_telemetry.home.shared import SharedService, read_service

if TYPE_CHECKING:
    from realm_telemetry.cli.keeper import Keeper
    from realm_telemetry.shipper.process_end import ProcessorTime

RUN_VARIABLE: Final = "REALM_RUN_ID"
MAX_RUN_ID: Final = 256
REPORTS_VARIABLE: Final = "REALM_RUN_REPORTS"
STREAMS_VARIABLE: Final = "REALM_RUN_STREAMS"
_OF_A_REPORT: Final = ("error", "error_type", "traceback", "rank", "pid")
_MAX_REPORTS: Final = 64
_MAX_REPORT_BYTES: Final = 1024 * 1024
_CAUSE_WITHIN_NS: Final = 30_000_000_000
_HELPERS_WITHIN_NS: Final = 1_000_000_000
"""An exception longer before the end was of a program whose failure the command could bear."""

_END_S: Final = 2.0
_KILLED: Final = 137
"""With what a shell leaves whose command SIGKILL has ended."""

_STUCK_S: Final = 1.0
"""So long the record of the end waits for a reader that takes nothing."""

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"


@command(
    examples=(
        ("realm run -- python train.py --lr 1e-4", "Train; the run's end has its reason."),
        ("realm run --name sweep7 -- ./train.sh 3", "With a name that the run's id begins with."),
        ("realm run --run-id r7 -- python train.py", "With an id of your own; again it goes on."),
        ("realm run --tag baseline --tag lr -- python train.py", "With tags for the list of runs."),
    )
)
@click.option("--name", metavar="TEXT", help="What the run's id begins with.")
@click.option(
    "--run-id", metavar="TEXT", help="The id itself; else REALM_RUN_ID, the job's, or new."
)
@click.option("--tag", "tags", metavar="TEXT", multiple=True, help="A tag; may be repeated.")
@click.option("--no-capture", is_flag=True, help="Keep no output; the command inherits ours.")
@click.option("--no-inject", is_flag=True, help="Leave Python programs as they are.")
@click.option("--no-forward", is_flag=True, help="Pass no signals on that others send to realm.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing of its own.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND ...")
def run(
    name: str | None,
    run_id: str | None,
    tags: Sequence[str],
    no_capture: bool,
    no_inject: bool,
    no_forward: bool,
    quiet: bool,
    words: Sequence[str],
) -> int:
    """Run a command, and record that it started and how and why it ended.

    Output, terminal, signals and exit status are those of the command alone, and the command goes
    on if realm is killed. Works for any program. What Python programs emit belongs to the run, and
    their further trainings to runs numbered after it (RUN-2). What is printed: realm logs RUN.
    """
    run_id = _run_id(name, run_id, words)
    say = _silent if quiet else _say
    reports = None if no_inject else _Reports.make()
    named = {RUN_VARIABLE: run_id, OF_COMMAND: run_id}
    environment = {**os.environ, **named, **(reports.variables() if reports else {})}
    capture = None if no_capture else Capture(_kept_above(run_id))
    if capture:
        environment[STREAMS_VARIABLE] = " ".join(capture.marks())
    try:
        supervisor = Supervisor(words, environment, forward=not no_forward, capture=capture)
    except OSError as error:
        if reports:
            reports.take(0)
        _say(f"realm: {words[0]}: {error.strerror}")
        return NOT_EXECUTABLE if isinstance(error, PermissionError) else NOT_FOUND
    begun = f"run {run_id}: started ({_where(run_id)})"
    say(begun)
    if capture and capture.problem:
        say(f"realm: the output is not kept: {capture.problem}")
    # The command runs by now; what is slow here, or goes wrong, costs it nothing.
    record = _Record(run_id, words, tags)
    keeper = record.keeper(capture, say, begun) if capture else None
    _bring_service_up(run_id, say)
    ended = supervisor.wait()
    found = reports.take(supervisor.pid) if reports else []
    supervisor.drain(_STUCK_S)
    if keeper:
        keeper.finish()
    verdict = record.ended(ended, found, keeper.tail.lines() if keeper else [])
    supervisor.drain()
    say(f"run {run_id}: {verdict} ({_where(run_id)})")
    return end_like(ended)


class _Reports:
    """Where Python programs of the command leave word of exceptions that nobody caught."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    @classmethod
    def make(cls) -> "_Reports | None":
        """Make a directory; None where there is no room for one."""
        try:
            return cls(tempfile.mkdtemp(prefix="realm-run-"))
        except OSError:
            return None

    def variables(self) -> dict[str, str]:
        """The variables by which a Python program finds it: see inject/sitecustomize.py."""
        before = os.environ.get("PYTHONPATH")
        inject = str(Path(__file__).with_name("inject"))
        path = inject if not before else f"{inject}{os.pathsep}{before}"
        return {REPORTS_VARIABLE: self._directory, "PYTHONPATH": path}

    def take(self, pid: int) -> list[dict[str, Any]]:
        """Return what may be the cause of the end, the earliest first; removes all.

        pid: of the command. A helper's exception counts just before the end; that of a rank a while
        longer, because its launcher waits for the others.
        """
        now_ns = time.time_ns()
        found = []
        for path in sorted(Path(self._directory).glob("*.json"))[-_MAX_REPORTS:]:
            with suppress(
                OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError
            ):
                report = _read_report(path)
                age_ns = now_ns - int(report["time_unix_nano"])
                own = report["pid"] == pid or report["rank"] is not None
                if age_ns <= (_CAUSE_WITHIN_NS if own else _HELPERS_WITHIN_NS):
                    found.append(report)
        shutil.rmtree(self._directory, ignore_errors=True)
        return found


def _read_report(path: Path) -> Any:
    """Read what a program of the command has left.

    Anything may lie there: a pipe that nobody writes to, a link, JSON without an end.
    Raises OSError, ValueError, RecursionError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123
        return json.loads(file.read(_MAX_REPORT_BYTES))


class _Record:
    """What the log gets to know of a run. Trouble with it is printed, and stops nothing."""

    def __init__(self, run_id: str, words: Sequence[str], tags: Sequence[str]) -> None:
        from realm_telemetry.shipper.process_end import memory_kills

        self._run_id = run_id
        self._kills = memory_kills()
        self._began_s = time.monotonic()
        self._works = False
        try:
            self._begin(words, tags)
            self._works = True
        except Exception as error:  # noqa: BLE001 - the command runs, whatever ails the log
            _say(f"realm: this run is not recorded: {error}")

    def _begin(self, words: Sequence[str], tags: Sequence[str]) -> None:
        import realm_telemetry as telemetry
        from realm_telemetry.producer.origin import scheduler_facts

        given: dict[str, Any] = {}
        telemetry.configure(service_name=Path(words[0]).name, run_id=self._run_id)
        with suppress(OSError):  # the directory was deleted
            given["cwd"] = str(Path.cwd())
        given |= scheduler_facts() | ({"tags": list(tags)} if tags else {})
        telemetry.run_started(command=shlex.join(words)[:1000], launcher="realm run", **given)

    def keeper(self, capture: Capture, say: Callable[[str], None], *own: str) -> "Keeper | None":
        """Return what keeps the output; None where the settings are wrong, which was said.

        say: takes a line about what cannot be kept. own: lines that are ours.
        """
        from realm_telemetry.cli.keeper import Keeper
        from realm_telemetry.config import load_settings
        from realm_telemetry.redaction import redactor
        from realm_telemetry.spool.output import KeptOutput, remove_old

        try:
            settings = load_settings()
        except ConfigError:
            return None
        kept = None
        try:
            kept = KeptOutput(settings.home, self._run_id)
        except OSError as error:
            say(f"realm: the output is not kept: {error.strerror or error}")
        redact = redactor(settings.redact).text
        make_room = partial(remove_old, settings.home, self._run_id, settings.output_bytes)
        return Keeper(capture, redact, kept, say, make_room, own)

    def ended(self, ended: Ended, reports: Sequence[dict[str, Any]], tail: Sequence[str]) -> str:
        """Record the end; returns it in words.

        reports: exceptions, the earliest first. tail: the last lines that were printed.
        """
        from realm_telemetry.producer.origin import scheduler_facts
        from realm_telemetry.shipper.process_end import ProcessEnd, kills_since
        from realm_telemetry.shipper.run_end import EndFacts, judge
        from realm_telemetry.shipper.scheduler import ask, job_of
        from realm_telemetry.spool.output import find_traceback

        end = ProcessEnd(known=True, code=ended.code, signal=ended.signal)
        in_container, on_host = kills_since(self._kills)
        in_container = (on_host and ended.group_kills) or in_container
        error = str(reports[0].get("error")) if reports else None
        printed = None if reports else find_traceback(tail)
        job = job_of(scheduler_facts())
        facts = EndFacts(
            end, error, job is not None, in_container, on_host, printed=printed and printed[0]
        )
        facts = facts._replace(processor=_processor_of(ended))
        if ended.asked is not None:
            facts = facts._replace(asked=ended.asked.number, sender=ended.asked.sender)
        if job is not None:
            facts = facts._replace(job_of=job.scheduler)
            if facts.may_be_by_scheduler:
                facts = facts._replace(scheduler=ask(job))
        verdict = judge(facts)
        details: dict[str, Any] = {
            "status": verdict.status,
            "reason": verdict.reason,
            "evidence": verdict.evidence | {"seen_by": "realm run"},
            "duration_s": round(time.monotonic() - self._began_s, 3),
        }
        if printed and verdict.evidence.get("printed"):
            details["evidence"]["traceback"] = printed[1]
        if tail:
            details["output_tail"] = "\n".join(tail)
        given = {name: verdict.evidence.get(name) for name in ("exit_code", "signal")}
        details |= {name: value for name, value in given.items() if value is not None}
        if self._works:
            self._store(details, verdict.severity, reports)
        return f"{verdict.status}, {verdict.reason}"

    def _store(
        self, details: dict[str, Any], severity: str, reports: Sequence[dict[str, Any]]
    ) -> None:
        import realm_telemetry as telemetry

        try:
            for report in reports if details["status"] != "completed" else ():
                if report.get("is_recorded"):
                    continue
                given = {name: report.get(name) for name in _OF_A_REPORT}
                telemetry.emit("uncaught_exception", details=given)
            telemetry.run_ended(**details, severity=severity)
            telemetry.shutdown(_END_S)
        except Exception as error:  # noqa: BLE001 - the exit status is what counts
            _say(f"realm: the end of this run is not recorded: {error}")


def _processor_of(ended: Ended) -> "ProcessorTime | None":
    """Return the processor time that a command had, or what a shell ran that says it was killed."""
    import resource

    from realm_telemetry.shipper.process_end import ProcessorTime

    limit = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if ended.code != _KILLED or limit == resource.RLIM_INFINITY:
        return ended.processor
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ProcessorTime(limit, used.ru_utime + used.ru_stime, 1)


class RunSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[run]` of realm.toml. serve: whether to bring the service up on a terminal."""

    serve: bool = True


def _bring_service_up(run_id: str, say: Callable[[str], None]) -> None:
    """Start the service of the home where a person looks on and none runs; say where the run is.

    The command does not wait for it, and it goes on after the command.
    """
    from realm_telemetry.config import load_settings

    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)) or _is_scheduled():
        return
    try:
        settings = load_settings()
        wanted = msgspec.convert(settings.run, RunSettings).serve
    except ConfigError:  # said when the run is recorded
        return
    except msgspec.ValidationError as error:
        say(f"realm: [run] in realm.toml: {error}; no service is started")
        return
    if wanted and running_service(settings.home) is None:
        arguments = settings.home, run_id, say
        threading.Thread(target=_service_up, args=arguments, daemon=True).start()


def _service_up(home: Path, run_id: str, say: Callable[[str], None]) -> None:
    from realm_telemetry.cli.up import NotUpError, start

    try:
        start(home)
    except (NotUpError, OSError) as error:
        say(f"realm: {error} `[run] serve = false` in realm.toml leaves it out.")
    else:
        say(f"run {run_id}: {_where(run_id)}")


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _is_scheduled() -> bool:
    return any(name in os.environ for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"))


def _where(run_id: str) -> str:
    """Where a person sees more of a run: on its page, if a service of the home runs."""
    from urllib.parse import quote

    from realm_telemetry.config import load_settings

    running: RunningService | SharedService | None = None
    with suppress(ConfigError):  # said when the run is recorded
        settings = load_settings()
        running = running_service(settings.home)
        if running is None and settings.shared_home is not None:
            running = read_service(settings.shared_home)
    if running is None:
        return f"realm show {shlex.quote(run_id)}"
    return f"{running.pages}/runs/{quote(run_id, safe='')}"


def _run_id(name: str | None, run_id: str | None, words: Sequence[str]) -> str:
    launched = os.environ.get(RUN_VARIABLE) or run_of_launch(os.environ)
    given = run_id or (None if name else launched)
    if given and len(given) > MAX_RUN_ID:
        raise click.UsageError(f"The run's id has {len(given)} characters; {MAX_RUN_ID} may be.")
    if given:
        return given
    if name and len(name) > MAX_RUN_ID - 20:
        raise click.UsageError(f"The name has {len(name)} characters; {MAX_RUN_ID - 20} may be.")
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"{name or _named(words)}-{time.strftime('%m%d-%H%M')}-{suffix}"


def _kept_above(run_id: str) -> list[str]:
    """The streams that another `realm run` above keeps for the same run."""
    is_same = os.environ.get(RUN_VARIABLE) == run_id
    return os.environ.get(STREAMS_VARIABLE, "").split() if is_same else []


def _named(words: Sequence[str]) -> str:
    """The name of the script or program, without what starts it."""
    script = next((word for word in words if word.endswith((".py", ".sh"))), words[0])
    return Path(script).stem[:64] or "run"


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # nobody reads it any more
            note(text)


def _silent(_text: str) -> None:
    pass

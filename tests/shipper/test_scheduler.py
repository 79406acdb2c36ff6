"""What schedulers say of their jobs: Slurm in the form in which 22.05 printed it.

PBS, Torque and LSF are as their manuals print them; none of the three was at hand.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.errors import LogError
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.producer.origin import scheduler_facts
from realm_telemetry.shipper import scheduler
from realm_telemetry.shipper.process_end import ProcessEnd
from realm_telemetry.shipper.run_end import EndFacts, judge
from realm_telemetry.shipper.scheduler import (
    Inquiries,
    Job,
    SchedulerWord,
    ask,
    job_of,
    read_bjobs,
    read_qstat,
    read_sacct,
    read_scontrol,
)
from tests.waiting import wait_until

RECORD = """JobId=7 JobName=JobState=CANCELLED Reason=None
   UserId=root(0) GroupId=root(0) MCS_label=N/A
   Priority=4294901750 Nice=0 Account=(null) QOS=(null)
   JobState={state} Reason={reason} Dependency=(null)
   Requeue=1 Restarts={restarts} BatchFlag=1 Reboot=0 ExitCode=0:15
   RunTime=00:00:01 TimeLimit=UNLIMITED TimeMin=N/A
   SubmitTime=2026-11-29T08:23:12 EligibleTime=2026-11-29T08:23:12
   AccrueTime=2026-11-29T08:23:12
   StartTime=2026-11-29T08:23:12 EndTime={end} Deadline=N/A
   PreemptEligibleTime=2026-11-29T08:23:12 PreemptTime={preempted}
   SuspendTime=None SecsPreSuspend=0 LastSchedEval=2026-11-29T08:23:12 Scheduler=Main
   Partition=low AllocNode:Sid=localhost:16804
   Command=/tmp/job.sh
   WorkDir=/tmp
   StdErr={output}
   StdIn=/dev/null
   StdOut={output}
   Power=
   

"""  # noqa: W293 - as it is printed
AT = "2026-11-29T08:23:13"
LINE = "slurmstepd-vm: error: *** JOB {job} ON vm CANCELLED AT {at}{due} ***\n"


def record(state: str, **changed: Any) -> str:
    usual = {"reason": "None", "restarts": 0, "end": AT, "preempted": "None", "output": "/none"}
    return RECORD.format(state=state, **(usual | changed))


def unix_s(moment: str) -> float:
    return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S"))


@pytest.mark.parametrize(
    ("shown", "cause"),
    [
        (record("CANCELLED"), "cancelled"),
        (record("TIMEOUT", reason="TimeLimit"), "time_limit"),
        (record("PREEMPTED", preempted=AT), "preempted"),
        (record("OUT_OF_MEMORY", reason="OutOfMemory"), "out_of_memory"),
        (record("PENDING", restarts=1, reason="BeginTime"), "requeued"),
        (record("RUNNING", restarts=1), "requeued"),
        (record("COMPLETING", restarts=1, end="Unknown"), "requeued"),
        (record("PENDING", restarts=1, preempted=AT), "preempted"),
        (record("COMPLETING", reason="TimeLimit"), "time_limit"),
        (record("COMPLETING", preempted=AT), "preempted"),
        (record("COMPLETING"), ""),
        (record("RUNNING"), ""),
        (record("FAILED", reason="RaisedSignal:15(Terminated)"), ""),
        (record("NODE_FAIL"), ""),
    ],
)
def test_the_record_of_a_job_says_why_its_processes_ended(shown: str, cause: str) -> None:
    word = read_scontrol(shown, Job("7"))
    assert word is not None
    assert word.cause == cause


def test_a_job_that_was_requeued_before_is_not_requeued_again() -> None:
    word = read_scontrol(record("CANCELLED", restarts=1), Job("7", restarts=1))
    assert word is not None
    assert word.cause == "cancelled"


@pytest.mark.parametrize("shown", ["", "slurm_load_jobs error: Invalid job id specified", "\0\n\n"])
def test_what_is_no_record_says_nothing(shown: str) -> None:
    assert read_scontrol(shown, Job("7")) is None
    assert read_sacct(shown, Job("7")) is None


def test_of_an_array_the_record_of_the_own_task_counts() -> None:
    other = record("CANCELLED").replace("JobId=7 ", "JobId=8 ArrayJobId=7 ")
    word = read_scontrol(other + record("TIMEOUT"), Job("7"))
    assert word is not None
    assert word.cause == "time_limit"
    assert read_scontrol(other, Job("7")) is None


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (LINE.format(job=7, at=AT, due=""), "cancelled"),
        (LINE.format(job=7, at=AT, due=" DUE TO TIME LIMIT"), "time_limit"),
        (LINE.format(job=7, at=AT, due=" DUE TO PREEMPTION"), "preempted"),
        (LINE.format(job=7, at=AT, due=" DUE TO JOB REQUEUE"), "requeued"),
        (LINE.format(job=7, at=AT, due=" DUE TO NODE FAILURE"), ""),
        (LINE.format(job=8, at=AT, due=""), ""),
        (LINE.format(job=7, at="2026-11-29T08:00:00", due=""), ""),
        ("the loss is *** JOB ***\n", ""),
    ],
)
def test_while_a_job_completes_its_own_output_tells(tmp_path: Path, line: str, cause: str) -> None:
    output = tmp_path / "slurm-7.out"
    output.write_text("step 1\n" * 5_000 + line)
    word = read_scontrol(record("COMPLETING", output=output), Job("7"))
    assert word is not None
    assert word.cause == cause


def test_output_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out")
    word = read_scontrol(record("COMPLETING", output=tmp_path / "out"), Job("7"))
    assert word is not None
    assert word.cause == ""


@pytest.mark.parametrize(
    ("state", "cause"),
    [("CANCELLED by 1000", "cancelled"), ("TIMEOUT", "time_limit"), ("COMPLETED", "")],
)
def test_accounting_is_read_where_the_controller_has_forgotten_the_job(
    state: str, cause: str
) -> None:
    word = read_sacct(f"6|COMPLETED|{AT}\n7|{state}|{AT}\n", Job("7"))
    assert word == SchedulerWord(cause, state, "sacct")


def test_a_process_last_heard_long_before_the_job_ended_is_not_explained_by_that() -> None:
    near, far = Job("7", last_event_unix_s=unix_s(AT) - 60), Job("7", last_event_unix_s=1.0)
    for job, cause in ((near, "cancelled"), (far, "")):
        word = read_scontrol(record("CANCELLED"), job)
        assert word is not None
        assert word.cause == cause


SIGTERM, SIGKILL = (ProcessEnd(known=True, signal=number) for number in (15, 9))


@pytest.mark.parametrize(
    ("cause", "end", "status", "reason"),
    [
        ("preempted", SIGTERM, "preempted", "Slurm gave its place to another job"),
        ("requeued", SIGTERM, "preempted", "Slurm requeued the job"),
        ("cancelled", SIGTERM, "cancelled", "scancel"),
        ("cancelled", ProcessEnd(known=True, code=143), "cancelled", "scancel"),
        ("cancelled", SIGKILL, "cancelled", "scancel"),
        ("cancelled", ProcessEnd(), "cancelled", "scancel"),
        ("time_limit", SIGTERM, "killed", "time limit of Slurm"),
        ("out_of_memory", SIGKILL, "out_of_memory", "the job reached its memory limit of Slurm"),
        ("", SIGTERM, "terminated", "SIGTERM by the scheduler, cause unknown"),
        ("", SIGKILL, "killed", "SIGKILL, sender unknown"),
        ("", ProcessEnd(), "lost", "no word of its end"),
        ("cancelled", ProcessEnd(known=True, code=1), "failed", "exit code 1"),
        ("cancelled", ProcessEnd(known=True, code=0), "completed", "exit code 0"),
        ("cancelled", ProcessEnd(known=True, signal=11), "crashed", "SIGSEGV"),
    ],
)
def test_the_word_of_the_scheduler_explains_what_it_can_have_done(
    cause: str, end: ProcessEnd, status: str, reason: str
) -> None:
    word = SchedulerWord(cause, "STATE", "scontrol")
    verdict = judge(EndFacts(end, scheduled=True, scheduler=word))
    assert verdict[:2] == (status, reason)
    assert verdict.evidence["scheduler"] == {"job_state": "STATE", "source": "scontrol"}


def test_a_kill_for_memory_is_one_whatever_the_scheduler_says() -> None:
    word = SchedulerWord("cancelled", "CANCELLED", "scontrol")
    verdict = judge(EndFacts(SIGKILL, container_kills=1, scheduler=word))
    assert verdict.status == "out_of_memory"


@pytest.mark.parametrize(
    ("ends_in_s", "cause"), [(-1, "time_limit"), (3, "time_limit"), (3_600, None), (None, None)]
)
def test_without_slurms_commands_the_end_of_the_job_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends_in_s: int | None, cause: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ends = None if ends_in_s is None else int(time.time()) + ends_in_s
    word = ask(Job("7", ends_unix_s=ends))
    assert (word and word.cause) == cause


def test_the_job_is_read_from_the_start_of_the_run() -> None:
    details = {"scheduler_job_id": "7", "scheduler_restarts": 2, "scheduler_ends_unix_s": 9}
    assert job_of(details) == Job("7", 2, 9)
    assert job_of({"scheduler_job_id": "7", "scheduler_restarts": "x"}) == Job("7")
    assert job_of({}) is None


QSTAT = """Job Id: 7.head
    Job_Name = Exit_status = -29
    job_state = {state}
    Resource_List.walltime = 00:10:00
    resources_used.walltime = {used}
    Variable_List = PBS_O_HOME=/home/ada,
\tjob_state = F,substate = 91
    mtime = Sun Nov 29 08:23:13 2026
    substate = {substate}
{status}
"""


def qstat(state: str, status: str = "", *, substate: int = 42, used: str = "00:01:00") -> str:
    return QSTAT.format(state=state, substate=substate, used=used, status=status)


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        (qstat("R"), ""),
        (qstat("E"), ""),
        (qstat("Q"), "requeued"),
        (qstat("F", "    Exit_status = -29", substate=93), "time_limit"),
        (qstat("F", "    Exit_status = -27", substate=93), "out_of_memory"),
        (qstat("F", "    Exit_status = 271", substate=91), "cancelled"),
        (qstat("F", "    Exit_status = 271", substate=93), ""),
        (qstat("F", "    Exit_status = 1", substate=93), ""),
        (qstat("F", "    Exit_status = 0", substate=92), ""),
        (qstat("C", "    exit_status = 271"), ""),
        (qstat("C", "    exit_status = 271", used="00:10:02"), "time_limit"),
        (qstat("C", "    exit_status = -11"), "time_limit"),
        (qstat("C", "    exit_status = -10"), "out_of_memory"),
        (qstat("C", "    exit_status = -29"), ""),
    ],
)
def test_the_record_of_pbs_says_why_its_processes_ended(printed: str, cause: str) -> None:
    job = Job("7.head", scheduler="pbs")
    word = read_qstat(printed, job)
    assert word is not None
    assert (word.cause, word.source) == (cause, "qstat")
    assert read_qstat(printed, job._replace(id="8.head")) is None
    ended_s = unix_s(AT)
    for heard_s, expected in ((ended_s - 30, cause), (ended_s - 300, "")):
        word = read_qstat(printed, job._replace(last_event_unix_s=heard_s))
        assert word is not None
        assert word.cause == expected


@pytest.mark.parametrize(
    ("printed", "cause", "state"),
    [
        ("7|EXIT|TERM_OWNER: job killed by owner\n", "cancelled", "EXIT TERM_OWNER"),
        ("7 | EXIT | TERM_RUNLIMIT: job killed\n", "time_limit", "EXIT TERM_RUNLIMIT"),
        ("7|EXIT|TERM_MEMLIMIT\n", "out_of_memory", "EXIT TERM_MEMLIMIT"),
        ("7|PEND|TERM_REQUEUE_OWNER: requeued\n", "requeued", "PEND TERM_REQUEUE_OWNER"),
        ("7|PEND|-\n", "requeued", "PEND"),
        ("7|EXIT|TERM_PREEMPT: job killed after preemption\n", "preempted", "EXIT TERM_PREEMPT"),
        ("7|EXIT|TERM_UNKNOWN: unknown reason\n", "", "EXIT TERM_UNKNOWN"),
        ("7|EXIT|-\n", "", "EXIT"),
        ("7|RUN|-\n", "", "RUN"),
    ],
)
def test_the_record_of_lsf_says_why_its_processes_ended(
    printed: str, cause: str, state: str
) -> None:
    word = read_bjobs(printed, Job("7[2]", scheduler="lsf"))
    assert word == SchedulerWord(cause, state, "bjobs")
    word = read_bjobs(printed, Job("7", last_event_unix_s=1.0, scheduler="lsf"))
    assert word == SchedulerWord("", state, "bjobs"), "nobody knows when that was"


@pytest.mark.parametrize("printed", ["", "Job <7> is not found", "qstat: Unknown Job Id", "\0|\n"])
def test_what_is_no_record_of_pbs_or_lsf_says_nothing(printed: str) -> None:
    assert read_qstat(printed, Job("7", scheduler="pbs")) is None
    assert read_bjobs(printed, Job("7", scheduler="lsf")) is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SLURM_JOB_ID": "7", "PBS_JOBID": "8"}, ("slurm", "7")),
        ({"PBS_JOBID": "8.head"}, ("pbs", "8.head")),
        ({"LSB_JOBID": "9", "LSB_JOBINDEX": "0"}, ("lsf", "9")),
        ({"LSB_JOBID": "9", "LSB_JOBINDEX": "3"}, ("lsf", "9[3]")),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAME": "p-1"}, ("kubernetes", "p-1")),
        ({}, (None, None)),
    ],
)
def test_the_environment_says_whose_job_it_is(
    environ: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    facts = scheduler_facts(environ)
    assert (facts.get("scheduler"), facts.get("scheduler_job_id")) == expected
    job = job_of(facts)
    assert (job and (job.scheduler, job.id)) == (expected if expected[0] else None)


@pytest.mark.parametrize("text", [None, "node is drained\n"])
def test_in_kubernetes_the_termination_log_is_evidence_and_no_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """Anybody in the container can write there."""
    log = tmp_path / "termination-log"
    if text is not None:
        log.write_text(text)
    monkeypatch.setattr(scheduler, "TERMINATION_LOG", log)
    word = ask(Job("p-1", scheduler="kubernetes"))
    end = ProcessEnd(known=True, signal=signal.SIGTERM)
    verdict = judge(EndFacts(end, scheduled=True, scheduler=word, job_of="kubernetes"))
    assert verdict.status == "terminated"
    assert verdict.reason == "SIGTERM by the scheduler, cause unknown"
    shown = {"job_state": "node is drained", "source": str(log)} if text else True
    assert verdict.evidence["scheduler"] == shown


def test_lsf_ends_a_job_by_sigint_first() -> None:
    word = SchedulerWord("time_limit", "EXIT TERM_RUNLIMIT", "bjobs")
    for number in (signal.SIGUSR2, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        facts = EndFacts(ProcessEnd(known=True, signal=number), scheduler=word, job_of="lsf")
        assert judge(facts)[:2] == ("killed", "time limit of LSF")
    facts = EndFacts(ProcessEnd(known=True, signal=signal.SIGINT), scheduler=word, job_of="pbs")
    assert judge(facts)[:2] == ("cancelled", "SIGINT")


def test_all_processes_of_a_job_share_one_question() -> None:
    asked, go_on = [], threading.Event()

    def answer(job: Job) -> SchedulerWord | None:
        asked.append(job)
        go_on.wait(30)
        return SchedulerWord("cancelled", "CANCELLED", "scontrol")

    inquiries = Inquiries(answer)
    found = [inquiries.answer(Job("7")) for _ in range(8)]
    assert not any(each.answered for each in found)
    go_on.set()
    wait_until(lambda: inquiries.answer(Job("7")).answered)
    assert inquiries.answer(Job("7")).word == SchedulerWord("cancelled", "CANCELLED", "scontrol")
    assert asked == [Job("7")]


def test_an_answer_of_any_form_stops_nothing() -> None:
    def fail(_: Job) -> SchedulerWord | None:
        raise ValueError("odd")

    inquiries = Inquiries(fail)
    wait_until(lambda: inquiries.answer(Job("7")).answered)
    assert inquiries.answer(Job("7")).word is None


PROGRAM = """
import time, realm_telemetry as realm
realm.configure(exporters=["battle_log"])
realm.training_started(total_steps=9)
print("ready", flush=True)
time.sleep(300)
"""


def _stub(directory: Path, name: str, arguments: str, text: str) -> None:
    """A command that prints a record; the real `scontrol` is in tests/faults/test_slurm.py."""
    directory.mkdir()
    (directory / "record").write_text(text)
    stub = directory / name
    stub.write_text(f'#!/bin/sh\n[ "$*" = "{arguments}" ] && cat {directory}/record\n')
    stub.chmod(0o700)


SLURM = ("SLURM_JOB_ID", "7", "scontrol", "show job 7", record("CANCELLED"), "scancel")
PBS = ("PBS_JOBID", "7.head", "qstat", "-x -f 7.head", qstat("F", substate=91), "qdel")
LSF = (
    *("LSB_JOBID", "7", "bjobs"),
    "-noheader -o jobid stat exit_reason:200 delimiter='|' 7",
    *("7|EXIT|TERM_OWNER: job killed by owner\n", "bkill"),
)
RUN = ("-m", "realm_telemetry", "run", "-q", "--")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("above", "job"),
    [((), SLURM), (RUN, SLURM), ((), PBS), (RUN, LSF)],
    ids=["slurm", "slurm-run", "pbs", "lsf-run"],
)
def test_a_run_that_its_scheduler_cancelled_is_cancelled(
    tmp_path: Path, above: tuple[str, ...], job: tuple[str, ...]
) -> None:
    """Both as the shipper sees it, and as `realm run` does."""
    variable, job_id, *stub, command = job
    _stub(tmp_path / "bin", *stub)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "REALM_HOME": str(tmp_path / "home"),
        variable: job_id,
    }
    words = (sys.executable, "-c", PROGRAM)
    process = subprocess.Popen(
        [sys.executable, *above, *words] if above else words,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    # The shipper looks at a process from then on: it learns how that ends.
    wait_until(lambda: _details(tmp_path / "home", "training_started"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    wait_until(lambda: len(_ends(tmp_path / "home")) == (2 if above else 1))
    for details in _ends(tmp_path / "home"):
        assert (details["status"], details["reason"]) == ("cancelled", command), details


def _ends(home: Path) -> list[dict[str, Any]]:
    return _details(home, "run_ended")


def _details(home: Path, kind: str) -> list[dict[str, Any]]:
    """The details of all events of a kind."""
    path = home / "vault" / "jobs.db"
    if not path.exists():
        return []
    with suppress(LogError), LogReader(path) as reader:
        rows = reader.now.after(0, 1_000)
        return [row.event.details for row in rows if row.event.kind == kind]
    return []

"""Jobs of a real Slurm: controller, node daemon and munge of Debian's slurm-wlm on this machine."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.errors import LogError
from realm_telemetry.log.sqlite.reader import LogReader
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.processes]

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol", "scancel")
SETTINGS = """ClusterName=realm
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={at}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=5
OverTimeLimit=0
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""
TRAINING = """
import os, time
import realm_telemetry as realm
realm.configure(exporters=["battle_log"])
realm.training_started(total_steps=9)
realm.training_step(step=1, loss=0.5)
open(os.environ["REALM_HOME"] + "/ready." + os.environ["SLURM_JOB_ID"], "a").write("x")
time.sleep(600)
"""


class Slurm:
    """A cluster of this machine alone, in a directory. It skips the test where it cannot be."""

    def __init__(self, at: Path) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
        if missing or os.geteuid() != 0:
            pytest.skip(f"needs root and Debian's slurm-wlm; there is no {', '.join(missing)}")
        self.at = at
        for name in ("state", "spool", "home"):
            (at / name).mkdir()
        (at / "munge.key").write_bytes(os.urandom(1024))
        (at / "munge.key").chmod(0o600)
        host, ports = os.uname().nodename.partition(".")[0], (free_port(), free_port())
        (at / "slurm.conf").write_text(SETTINGS.format(host=host, at=at, ports=ports))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "REALM_"))}
        self.environment = {**clean, "PATH": _PATH, "SLURM_CONF": str(at / "slurm.conf")}
        files = [f"--key-file={at}/munge.key", f"--socket={at}/munge.sock"]
        files += [f"--pid-file={at}/munged.pid", f"--log-file={at}/munged.log"]
        self._start("munged", "--force", *files, f"--seed-file={at}/munged.seed")
        self._start("slurmctld", "-c", "-f", f"{at}/slurm.conf")
        self._start("slurmd", "-c", "-f", f"{at}/slurm.conf")
        try:
            wait_until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%t"))
        except AssertionError:
            self.stop()
            pytest.skip("Slurm does not start on this machine")

    def _start(self, *command: str) -> None:
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        if done.returncode != 0:
            self.stop()
            pytest.skip(f"{command[0]} does not start here: {done.stderr.decode()[-200:]}")

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        ).stdout

    def submit(self, *options: str, words: str = "") -> str:
        """Submit a training; returns its job once it trains. words: before the command."""
        script = self.at / "job.sh"
        command = f"exec {sys.executable} {words} {self.at}/train.py"
        script.write_text(f"#!/bin/sh\nexport REALM_HOME={self.home}\n{command}\n")
        (self.at / "train.py").write_text(TRAINING)
        given = ["--parsable", f"--output={self.at}/%j.out", "--open-mode=append", *options]
        job = self.ask("sbatch", *given, str(script)).strip()
        assert job.isdigit(), self.ask("sinfo")
        wait_until(lambda: self.starts(job) == 1, explain=lambda: self.ask("squeue"))
        return job

    def starts(self, job: str) -> int:
        """How often the training of a job has begun."""
        ready = self.home / f"ready.{job}"
        return len(ready.read_text()) if ready.exists() else 0

    @property
    def home(self) -> Path:
        """The home of all jobs."""
        return self.at / "home"

    def ends(self, job: str) -> list[dict[str, Any]]:
        """The details of the `run_ended` of a job's run."""
        path = self.home / "vault" / "jobs.db"
        if not path.exists():
            return []
        with suppress(LogError), LogReader(path) as reader:
            rows = [row.event for row in reader.now.after(0, 1_000)]
            own = [event for event in rows if event.run_id == f"slurm-{job}"]
            return [event.details for event in own if event.kind == "run_ended"]
        return []

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.ask("scancel", "--user=root", "--signal=KILL", "--full")
        for name in ("slurmd", "slurmctld", "munged"):
            with suppress(OSError, ValueError):
                os.kill(int((self.at / f"{name}.pid").read_text()), signal.SIGTERM)


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """One for all tests here."""
    made = Slurm(tmp_path_factory.mktemp("slurm"))
    yield made
    made.stop()


def check_end(slurm: Slurm, job: str, status: str, reason: str) -> None:
    """Wait for the end of a job's run, and check it."""
    wait_until(lambda: slurm.ends(job))
    for details in slurm.ends(job):
        assert (details["status"], details["reason"]) == (status, reason), details


@pytest.mark.parametrize("words", ["", "-m realm_telemetry run --"], ids=["alone", "realm run"])
def test_scancel_cancels_the_run(slurm: Slurm, words: str) -> None:
    words = f"{words} {sys.executable}" if words else ""
    job = slurm.submit(words=words)
    slurm.ask("scancel", job)
    check_end(slurm, job, "cancelled", "scancel")


def test_a_job_that_makes_place_for_another_is_preempted(slurm: Slurm) -> None:
    job = slurm.submit()
    other = slurm.submit("--partition=high", "--ntasks=2")
    check_end(slurm, job, "preempted", "Slurm gave its place to another job")
    slurm.ask("scancel", other)
    check_end(slurm, other, "cancelled", "scancel")


def test_a_job_that_is_requeued_is_preempted_for_now(slurm: Slurm) -> None:
    job = slurm.submit()
    slurm.ask("scontrol", "requeue", job)
    check_end(slurm, job, "preempted", "Slurm requeued the job")
    slurm.ask("scancel", job)


def test_a_kill_that_is_not_by_slurm_has_no_cause(slurm: Slurm) -> None:
    job = slurm.submit()
    slurm.ask("scancel", "--signal=TERM", "--batch", job)
    wait_until(lambda: slurm.ends(job))
    (details,) = slurm.ends(job)
    assert details["status"] == "terminated", details


@pytest.mark.long
def test_the_time_limit_kills_the_run(slurm: Slurm) -> None:
    """Slurm's shortest is a minute, and it looks every half."""
    job = slurm.submit("--time=0:01")
    wait_until(lambda: slurm.ends(job), 150)
    check_end(slurm, job, "killed", "time limit of Slurm")

"""The job queue: every job is done once, whatever happens to workers."""

import multiprocessing
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from realm_telemetry.demo.jobs import Claim, EvalJob, EvalResult, JobQueue

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "jobs")


def job(number: int) -> EvalJob:
    return EvalJob(f"eval-{number:04d}", number, f"/checkpoints/{number}.npz")


def result_of(claim: Claim) -> EvalResult:
    return EvalResult(claim.job.job_id, claim.job.step, claim.job.checkpoint, 0.5, {"digit-0": 0.5})


def test_the_oldest_job_is_taken_first(queue: JobQueue) -> None:
    for number in (1, 2):
        queue.submit(job(number))
    with queue.joined("w1"):
        first = queue.claim("w1")
    assert first is not None
    assert (first.job, first.attempt) == (job(1), 1)


def test_an_empty_queue_gives_none(queue: JobQueue) -> None:
    with queue.joined("w1"):
        assert queue.claim("w1") is None


def test_a_queue_is_finished_once_closed_and_every_job_ended(queue: JobQueue) -> None:
    queue.submit(job(1))
    queue.submit(job(2))
    with queue.joined("w1"):
        first, second = queue.claim("w1"), queue.claim("w1")
        assert first is not None
        assert second is not None
        queue.complete(first, result_of(first))
        queue.give_up(second)
        assert not queue.finished
        queue.close()
        assert queue.finished
    assert [result.job_id for result in queue.results()] == ["eval-0001"]


def work_through(directory: Path, worker_id: str, go: "multiprocessing.synchronize.Event") -> None:
    """Take and do all jobs, in a process of its own; leaves a mark for each."""
    queue = JobQueue(directory)
    with queue.joined(worker_id):
        go.wait()
        while (claim := queue.claim(worker_id)) is not None:
            mark = directory / f"{claim.job.job_id}.by.{worker_id}"
            mark.touch(exist_ok=False)
            queue.complete(claim, result_of(claim))


def test_workers_that_race_never_take_the_same_job(tmp_path: Path) -> None:
    queue, jobs, go = JobQueue(tmp_path), 300, SPAWN.Event()
    for number in range(jobs):
        queue.submit(job(number))
    workers = [
        SPAWN.Process(target=work_through, args=(tmp_path, f"w{number}", go)) for number in range(3)
    ]
    for worker in workers:
        worker.start()
    go.set()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    marks = [path.name.split(".by.")[0] for path in tmp_path.glob("*.by.*")]
    assert sorted(marks) == [job(number).job_id for number in range(jobs)]
    assert len(queue.results()) == jobs


def claim_and_hang(directory: Path, worker_id: str) -> None:
    """Take a job and never do it."""
    queue = JobQueue(directory)
    with queue.joined(worker_id):
        queue.claim(worker_id)
        time.sleep(60)


def wait_for_claim(queue: JobQueue, worker_id: str, worker: BaseProcess) -> None:
    deadline_s = time.monotonic() + 60
    while not queue.claims().get(worker_id):
        assert worker.is_alive()
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_the_job_of_a_killed_worker_returns_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    queue.submit(job(1))
    worker = SPAWN.Process(target=claim_and_hang, args=(tmp_path, "w1"))
    worker.start()
    wait_for_claim(queue, "w1", worker)
    assert queue.take_back() == []

    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join(10)
    returned = queue.take_back()

    assert [(claim.job, claim.attempt) for claim in returned] == [(job(1), 2)]
    assert queue.take_back() == []
    with queue.joined("w2"):
        again = queue.claim("w2")
    assert again is not None
    assert (again.job, again.attempt) == (job(1), 2)


def test_a_worker_does_not_take_back_its_own_job(queue: JobQueue) -> None:
    queue.submit(job(1))
    with queue.joined("w1"):
        queue.claim("w1")
        assert queue.take_back() == []

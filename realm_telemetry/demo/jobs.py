"""The job queue: one directory per state, one file per job, moved by rename.

    waiting/<job id>.<attempt>.json            submitted
    claimed/<worker id>/<job id>.<attempt>.json   taken by a worker
    done/<job id>.json                         its result
    failed/<job id>.<attempt>.json             given up
    workers/<worker id>.lock                   locked for as long as the worker lives

A rename happens once: of two workers that want a job, one gets it and the other an error. The
kernel takes a dead worker's lock away, so no guess from a pid or a time is needed.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from realm_telemetry.demo.files import visible, written_whole

SKILLS: Final = 10
"""How many skills a job measures: one per digit."""

_CLOSED: Final = "closed"


class EvalJob(msgspec.Struct, frozen=True):
    """Measure a checkpoint."""

    job_id: str
    step: int
    checkpoint: str


class EvalResult(msgspec.Struct, frozen=True):
    """What a job measured. accuracy, skills by name: fractions of 1."""

    job_id: str
    step: int
    checkpoint: str
    accuracy: float
    skills: dict[str, float]


class Claim(NamedTuple):
    """A job in the hands of a worker. attempt: counts from 1."""

    job: EvalJob
    attempt: int
    path: Path


class JobQueue:
    """A queue that several processes share. Used by one trainer and any number of workers."""

    def __init__(self, directory: Path) -> None:
        self._waiting = directory / "waiting"
        self._claimed = directory / "claimed"
        self._done = directory / "done"
        self._failed = directory / "failed"
        self._workers = directory / "workers"
        self._closed = directory / _CLOSED
        self._submitted = 0
        for place in (self._waiting, self._claimed, self._done, self._failed, self._workers):
            place.mkdir(parents=True, exist_ok=True)

    def submit(self, job: EvalJob) -> None:
        """Put a job into the queue."""
        with written_whole(self._waiting / _file_name(job.job_id, 1)) as file:
            file.write(msgspec.json.encode(job))
        self._submitted += 1

    def close(self) -> None:
        """Say that no more jobs will come than this object has submitted."""
        with written_whole(self._closed) as file:
            file.write(str(self._submitted).encode())

    @property
    def finished(self) -> bool:
        """Whether no more jobs will come and all are done or given up."""
        # Counted where jobs only arrive: one on its way back from a dead worker is in no place.
        if not self._closed.exists():
            return False
        ended = len(visible(self._done)) + len(visible(self._failed))
        return ended >= int(self._closed.read_text())

    @contextmanager
    def joined(self, worker_id: str) -> Iterator[None]:
        """Be known as alive until the block ends or the process does."""
        (self._claimed / worker_id).mkdir(exist_ok=True)
        with self._lock_file(worker_id).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def claim(self, worker_id: str) -> Claim | None:
        """Take the oldest waiting job; None if there is none. The worker has joined."""
        for path in visible(self._waiting):
            mine = self._claimed / worker_id / path.name
            with suppress(FileNotFoundError):  # another worker was faster
                path.rename(mine)
                return _read(mine)
        return None

    def complete(self, claim: Claim, result: EvalResult) -> None:
        """Keep a job's result. After a crash in between the job runs again."""
        with written_whole(self._done / f"{claim.job.job_id}.json") as file:
            file.write(msgspec.json.encode(result))
        claim.path.unlink()

    def give_up(self, claim: Claim) -> None:
        """Set a job to failed that cannot be done."""
        claim.path.rename(self._failed / claim.path.name)

    def take_back(self) -> list[Claim]:
        """Return dead workers' jobs to the queue, with the attempt that comes next."""
        returned = []
        for worker_id, paths in self.claims().items():
            if paths and not self._is_alive(worker_id):
                returned += [claim for path in paths if (claim := self._return(path))]
        return returned

    def claims(self) -> dict[str, list[Path]]:
        """Return the files of claimed jobs by worker id."""
        return {place.name: visible(place) for place in visible(self._claimed)}

    def results(self) -> list[EvalResult]:
        """Return all results so far, by step."""
        found = [msgspec.json.decode(p.read_bytes(), type=EvalResult) for p in visible(self._done)]
        return sorted(found, key=lambda result: result.step)

    def _return(self, path: Path) -> Claim | None:
        job_id, attempt = _parse(path)
        waiting = self._waiting / _file_name(job_id, attempt + 1)
        try:
            job = _read(path).job
            path.rename(waiting)
        except FileNotFoundError:  # another worker has returned it
            return None
        return Claim(job, attempt + 1, waiting)

    def _is_alive(self, worker_id: str) -> bool:
        with self._lock_file(worker_id).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _lock_file(self, worker_id: str) -> Path:
        return self._workers / f"{worker_id}.lock"


def _read(path: Path) -> Claim:
    job = msgspec.json.decode(path.read_bytes(), type=EvalJob)
    return Claim(job, _parse(path)[1], path)


def _file_name(job_id: str, attempt: int) -> str:
    return f"{job_id}.{attempt}.json"


def _parse(path: Path) -> tuple[str, int]:
    job_id, attempt, _ = path.name.rsplit(".", 2)
    return job_id, int(attempt)

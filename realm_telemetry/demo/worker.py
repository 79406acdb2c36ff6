"""An eval worker: `python -m realm_telemetry.demo.worker CAMPAIGN_DIRECTORY WORKER_ID`."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import realm_telemetry as realm
from realm_telemetry.demo.campaign import Campaign
from realm_telemetry.demo.children import run_until_told
from realm_telemetry.demo.jobs import SKILLS, Claim, EvalResult
from realm_telemetry.demo.network import load_checkpoint, load_digits

ROLE: Final = "eval_worker"
DEVICE: Final = "cpu"
EVAL_LEVEL: Final = 1
HEARTBEAT_S: Final = 1.0
REGRESSION: Final = -0.05
"""The loss of accuracy from one result to the next that counts as a regression: two images."""

_POLL_S: Final = 0.05


def main() -> int:
    """Work until the campaign's last job is done."""
    campaign, worker_id = Campaign(Path(sys.argv[1])), sys.argv[2]
    realm.configure(service_name=ROLE, resource={"realm.worker.id": worker_id})
    with realm.bound(**campaign.labels):
        code = run_until_told(Worker(campaign, worker_id).run)
    # The lab stops the service once its children are gone, so hand over what is on its way.
    realm.flush(timeout_s=1.0)
    return code


class Worker:
    """Takes jobs from the queue and measures how well their checkpoints read each digit."""

    def __init__(self, campaign: Campaign, worker_id: str) -> None:
        self.worker_id = worker_id
        self._campaign = campaign
        self._queue = campaign.queue
        self._pace_s = campaign.plan.seconds_per_skill
        self._current_job: str | None = None
        self._leaving = threading.Event()

    def run(self) -> None:
        """Join, work, leave."""
        with self._queue.joined(self.worker_id), self._present():
            while not self._queue.finished:
                self._take_back()
                claim = self._queue.claim(self.worker_id)
                if claim is None:
                    time.sleep(_POLL_S)
                else:
                    self._work(claim)

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Join, give a heartbeat each second, and leave."""
        realm.worker_joined(self.worker_id, role=ROLE, device=DEVICE)
        heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        heart.start()
        reason = "all jobs are done"
        try:
            yield
        except BaseException as error:
            reason = "stopped" if isinstance(error, KeyboardInterrupt) else repr(error)
            raise
        finally:
            self._leaving.set()
            heart.join()
            realm.worker_left(self.worker_id, reason=reason)

    def _beat(self) -> None:
        # Bound again: a thread starts without what its parent has bound.
        with realm.bound(**self._campaign.labels):
            while True:
                job = self._current_job
                status = "busy" if job else "idle"
                realm.worker_heartbeat(self.worker_id, ROLE, DEVICE, status, current_job=job)
                if self._leaving.wait(HEARTBEAT_S):
                    return

    def _take_back(self) -> None:
        for claim in self._queue.take_back():
            realm.job_retried(claim.job.job_id, attempt=claim.attempt, reason="its worker is gone")

    def _work(self, claim: Claim) -> None:
        job_id = claim.job.job_id
        realm.job_claimed(job_id, self.worker_id, attempt=claim.attempt)
        self._current_job = job_id
        try:
            with realm.lifecycle(
                "job", job_id=job_id, job_type="eval", worker_id=self.worker_id
            ) as job:
                result = self._measure(claim)
                job.set(accuracy=result.accuracy)
        except Exception:  # noqa: BLE001 - the lifecycle reports it; one bad job ends no worker
            self._queue.give_up(claim)
        else:
            self._queue.complete(claim, result)
        finally:
            self._current_job = None

    def _measure(self, claim: Claim) -> EvalResult:
        """Load the job's checkpoint and measure it on each digit of the test images."""
        job = claim.job
        # A job is submitted after its dataset is written.
        data = load_digits(self._campaign.dataset)
        learned = load_checkpoint(Path(job.checkpoint))
        before = self._skills_before(job.step)
        skills = {}
        for digit in range(SKILLS):
            skill = f"digit-{digit}"
            with realm.bound(suite=job.job_id, step=job.step):
                realm.eval_started(skill, EVAL_LEVEL)
                chosen = data.test_labels == digit
                images, labels = data.test_images[chosen], data.test_labels[chosen]
                skills[skill] = learned.accuracy(images, labels)
                time.sleep(self._pace_s)
                _tell(skill, skills[skill], before.get(skill))
        accuracy = learned.accuracy(data.test_images, data.test_labels)
        return EvalResult(job.job_id, job.step, job.checkpoint, accuracy, skills)

    def _skills_before(self, step: int) -> dict[str, float]:
        """The skills of the last checkpoint before this one, measured by any worker."""
        earlier = [result for result in self._queue.results() if result.step < step]
        return earlier[-1].skills if earlier else {}


def _tell(skill: str, accuracy: float, last: float | None) -> None:
    """Emit what was measured, and a regression if it is clearly worse than last time."""
    delta = None if last is None else accuracy - last
    realm.eval_completed(skill, EVAL_LEVEL, accuracy, delta=delta)
    if delta is not None and delta <= REGRESSION:
        realm.eval_regression(skill, EVAL_LEVEL, accuracy, delta=delta)


if __name__ == "__main__":
    sys.exit(main())

"""The training process: `python -m realm_telemetry.demo.trainer CAMPAIGN_DIRECTORY`."""

import sys
import time
from pathlib import Path
from typing import Final

import realm_telemetry as realm
from realm_telemetry.demo import checkpoints, digits, network
from realm_telemetry.demo.campaign import Campaign
from realm_telemetry.demo.hero import Hero
from realm_telemetry.demo.jobs import SKILLS, EvalJob
from realm_telemetry.demo.ledger import Ledger
from realm_telemetry.demo.lifeline import run_until_told

_POLL_S: Final = 0.05


def main() -> int:
    """Train through one campaign."""
    campaign = Campaign(Path(sys.argv[1]))
    realm.configure(service_name="training_daemon")
    with realm.bound(**campaign.labels):
        code = run_until_told(Trainer(campaign).run)
    # The lab stops the service once its children are gone, so hand over what is on its way.
    realm.flush(timeout_s=1.0)
    return code


class Trainer:
    """Trains a network, saves checkpoints, has them measured and acts on the results."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.plan = plan = campaign.plan
        self.queue = campaign.queue
        digits.prepare(campaign.dataset)
        self.data = digits.load(campaign.dataset)
        self.network = network.Network.initial(plan.hidden, plan.seed)
        self._optimizer = network.Momentum(self.network)
        examples = len(self.data.train_labels)
        self._batches = network.batches(examples, plan.batch_size, plan.seed)
        self._began_s = 0.0
        self._rate = 0.0
        self._ledger = Ledger(campaign)
        self._hero = Hero()
        self._seen: set[str] = set()

    def run(self) -> None:
        """Train to the end, then wait until every checkpoint has been measured."""
        plan = self.plan
        examples = len(self.data.train_labels)
        realm.dataset_generated("digits", examples=examples, path=self.campaign.dataset)
        with realm.lifecycle(
            "training",
            model=self.network.name,
            total_steps=plan.steps,
            learning_rate=plan.learning_rate,
            batch_size=plan.batch_size,
        ) as training:
            loss = self._train()
            training.set(step=plan.steps, loss=loss, learning_rate=self._rate)
        self.queue.close()
        while not self.queue.finished:
            self._read_results()
            time.sleep(_POLL_S)
        self._read_results()
        self._conclude()

    def _train(self) -> float:
        """Take all steps at the plan's pace; returns the last loss."""
        plan, loss = self.plan, 0.0
        self._began_s = time.perf_counter()
        for step in range(1, plan.steps + 1):
            loss = self._step(step)
            if step % plan.checkpoint_every == 0:
                self._save(step, loss)
            self._read_results()
            due_s = self._began_s + step / plan.steps_per_second
            time.sleep(max(due_s - time.perf_counter(), 0.0))
        return loss

    def _step(self, step: int) -> float:
        rate = self.plan.rate_at(step)
        if self._rate not in (0.0, rate):
            realm.lr_changed(rate, previous=self._rate, step=step)
        self._rate = rate
        batch = next(self._batches)
        images, labels = self.data.train_images[batch], self.data.train_labels[batch]
        loss = self._optimizer.step(images, labels, rate)
        realm.training_step(
            step,
            loss,
            learning_rate=rate,
            total_steps=self.plan.steps,
            samples_per_second=step * len(batch) / (time.perf_counter() - self._began_s),
        )
        return loss

    def _save(self, step: int, loss: float) -> None:
        path = self.campaign.checkpoints / f"step-{step:06d}.npz"
        size_bytes = checkpoints.save(self.network, path)
        realm.checkpoint_saved(step=step, loss=loss, path=path, size_bytes=size_bytes)
        self._submit(step, path)
        if step == self.plan.torn_after * self.plan.checkpoint_every:
            torn = path.with_stem(f"{path.stem}-torn")
            checkpoints.tear(path, torn)
            self._submit(step, torn)

    def _submit(self, step: int, path: Path) -> None:
        """Have a checkpoint measured. The job's id is its own among those of all campaigns."""
        job_id = f"{self.campaign.name}-{path.stem}"
        realm.eval_suite_triggered(job_id, step=step, evals=SKILLS)
        realm.job_submitted(job_id, "eval", checkpoint=path)
        self.queue.submit(EvalJob(job_id, step, str(path)))

    def _read_results(self) -> None:
        """Act on what the workers have measured since."""
        for result in self.queue.results():
            if result.job_id not in self._seen:
                self._seen.add(result.job_id)
                self._hero.prove(result)
                self._ledger.judge(result)

    def _conclude(self) -> None:
        champion = self._ledger.champion
        if champion is not None:
            realm.campaign_milestone(
                f"{self.campaign.name} ends with a champion of {champion.accuracy:.1%}",
                step=champion.step,
                accuracy=champion.accuracy,
            )


if __name__ == "__main__":
    sys.exit(main())

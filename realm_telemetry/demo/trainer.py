"""The training process: `python -m realm_telemetry.demo.trainer CAMPAIGN_DIRECTORY`.

It also keeps the hero (what the network is called, and the titles it earns) and the ledger of
checkpoints (which is the champion, which are archived or deleted).
"""

import sys
import time
from pathlib import Path
from typing import Final

import msgspec

import realm_telemetry as realm
from realm_telemetry.demo import network
from realm_telemetry.demo.campaign import Campaign
from realm_telemetry.demo.children import run_until_told
from realm_telemetry.demo.files import written_whole
from realm_telemetry.demo.jobs import SKILLS, EvalJob, EvalResult

TITLES: Final = (
    (0.80, "Apprentice of Digits"),
    (0.90, "Journeyman of Digits"),
    (0.95, "Master of Digits"),
    (0.98, "Grandmaster of Digits"),
)
"""The accuracy over all digits that earns a title."""

LEVELS: Final = ((0.80, 1), (0.90, 2), (0.95, 3), (1.0, 4))
"""The accuracy on one digit that reaches a level of its skill."""


class Hero:
    """Levels and titles of one campaign; each is reached once."""

    def __init__(self) -> None:
        self._titles: set[str] = set()
        self._levels: dict[str, int] = {}

    def prove(self, result: EvalResult) -> None:
        """Take what a result earns."""
        for skill, accuracy in result.skills.items():
            self._prove_skill(skill, accuracy)
        for needed, title in TITLES:
            if result.accuracy >= needed and title not in self._titles:
                self._titles.add(title)
                realm.title_earned(title, accuracy=result.accuracy, step=result.step)

    def _prove_skill(self, skill: str, accuracy: float) -> None:
        reached = max((level for needed, level in LEVELS if accuracy >= needed), default=0)
        if reached > self._levels.get(skill, 0):
            self._levels[skill] = reached
            realm.skill_level_up(skill, reached, accuracy=accuracy)


KEPT_CHECKPOINTS: Final = 3
"""Newest checkpoints that stay beside the champion."""


class Ledger:
    """Promotes by measured accuracy and clears up behind; emits what it does.

    champion: the best result so far, None before the first.
    """

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._path = campaign.directory / "ledger.json"
        self._judged: list[EvalResult] = []
        self.champion: EvalResult | None = None

    def judge(self, result: EvalResult) -> None:
        """Take a new result: promote its checkpoint if it is the best, then clear up."""
        self._judged.append(result)
        best = self.champion
        if best is None or result.accuracy > best.accuracy:
            self.champion = result
            realm.checkpoint_promoted(
                step=result.step,
                accuracy=result.accuracy,
                path=result.checkpoint,
                previous_step=best.step if best else None,
            )
            if best is not None:
                self._archive(best)
        self._clear_up()
        self._write()

    def _archive(self, former: EvalResult) -> None:
        """Keep a former champion, out of the way."""
        path = Path(former.checkpoint)
        if path.exists():
            realm.checkpoint_archived(
                step=former.step, path=path.replace(self._campaign.archive / path.name)
            )

    def _clear_up(self) -> None:
        by_age = sorted(self._judged, key=lambda result: result.step)
        for result in by_age[:-KEPT_CHECKPOINTS]:
            path = Path(result.checkpoint)
            if result is not self.champion and path.exists():
                path.unlink()
                realm.checkpoint_deleted(step=result.step, reason="surpassed", path=path)

    def _write(self) -> None:
        with written_whole(self._path) as file:
            file.write(msgspec.json.encode({"champion": self.champion, "judged": self._judged}))
        realm.ledger_updated(entries=len(self._judged), path=self._path)


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
        network.prepare_digits(campaign.dataset)
        self.data = network.load_digits(campaign.dataset)
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
        size_bytes = network.save_checkpoint(self.network, path)
        realm.checkpoint_saved(step=step, loss=loss, path=path, size_bytes=size_bytes)
        self._submit(step, path)
        if step == self.plan.torn_after * self.plan.checkpoint_every:
            torn = path.with_stem(f"{path.stem}-torn")
            network.tear_checkpoint(path, torn)
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

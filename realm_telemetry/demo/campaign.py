"""A campaign: one training run with everything around it, in a directory of its own."""

import re
import shutil
from pathlib import Path
from typing import Final

import msgspec

from realm_telemetry.demo.files import visible, written_whole
from realm_telemetry.demo.jobs import JobQueue

HERO: Final = "digit-sage"
WORKERS: Final = ("scout-1", "scout-2")
KEPT_CAMPAIGNS: Final = 5
"""Campaigns whose files stay; the log remembers the others too."""

_PLAN: Final = "plan.json"
_NAME: Final = "digits-{:03d}"


class Plan(msgspec.Struct, frozen=True):
    """How a campaign goes.

    steps_per_second: the pace, so that a person can follow; the work itself takes a fraction.
    torn_after: the checkpoint of which a torn copy is queued too, counted from 1.
    seconds_per_skill: the time a worker takes to measure one skill.
    """

    steps: int = 900
    steps_per_second: float = 32.0
    checkpoint_every: int = 90
    torn_after: int = 3
    seconds_per_skill: float = 0.12
    hidden: int = 48
    batch_size: int = 32
    learning_rate: float = 0.1
    seed: int = 1

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step: a third from half-way, a tenth for the last fifth."""
        if step <= self.steps * 0.5:
            return self.learning_rate
        return self.learning_rate / (3 if step <= self.steps * 0.8 else 10)


QUICK: Final = Plan(steps=300, steps_per_second=60.0, checkpoint_every=30, seconds_per_skill=0.03)
"""For tests: a few seconds."""


class Campaign:
    """The files that trainer and workers share. name: also the campaign id of all its events."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name
        self.checkpoints = directory / "checkpoints"
        self.archive = directory / "archive"
        self.dataset = directory.parent / "digits.npz"
        self.queue = JobQueue(directory / "jobs")

    @classmethod
    def begin(cls, lab: Path, plan: Plan) -> "Campaign":
        """Make the next campaign's directory; no other lab in the same home gets the same."""
        lab.mkdir(parents=True, exist_ok=True)
        number = _last_number(lab) + 1
        while True:
            directory = lab / _NAME.format(number)
            try:
                directory.mkdir()
                break
            except FileExistsError:
                number += 1
        campaign = cls(directory)
        campaign.checkpoints.mkdir()
        campaign.archive.mkdir()
        with written_whole(directory / _PLAN) as file:
            file.write(msgspec.json.encode(msgspec.structs.replace(plan, seed=number)))
        return campaign

    @property
    def labels(self) -> dict[str, str]:
        """What every event of the campaign carries; for `realm.bound`."""
        return {"hero_id": HERO, "campaign_id": self.name, "run_id": f"{self.name}-run"}

    @property
    def plan(self) -> Plan:
        """How this campaign goes; its seed is its number."""
        return msgspec.json.decode((self.directory / _PLAN).read_bytes(), type=Plan)


def forget_old(lab: Path) -> None:
    """Delete the files of all but the last campaigns."""
    numbered = [path for path in visible(lab) if _number(path)]
    for directory in sorted(numbered, key=_number)[:-KEPT_CAMPAIGNS]:
        shutil.rmtree(directory, ignore_errors=True)


def _last_number(lab: Path) -> int:
    return max((_number(path) for path in visible(lab)), default=0)


def _number(path: Path) -> int:
    found = re.fullmatch(r"digits-(\d+)", path.name)
    return int(found[1]) if found else 0

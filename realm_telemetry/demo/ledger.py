"""The ledger of checkpoints: which one is the champion, which are archived or deleted."""

from pathlib import Path
from typing import Final

import msgspec

import realm_telemetry as realm
from realm_telemetry.demo.campaign import Campaign
from realm_telemetry.demo.files import written_whole
from realm_telemetry.demo.jobs import EvalResult

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

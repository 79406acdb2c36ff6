"""The hero: what the network is called while it learns, and what it earns by being accurate."""

from typing import Final

import realm_telemetry as realm
from realm_telemetry.demo.jobs import EvalResult

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

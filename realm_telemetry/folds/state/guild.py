"""The guild: heroes with their skills and titles, achievements, milestones and lore."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import (
    Table,
    computed,
    detail,
    details,
    time_of,
)
from realm_telemetry.folds.state.values import bounded, identity

_UPDATED: Final = "hero_updated"
_TITLE: Final = "title_earned"
_SKILL: Final = "skill_level_up"
_ACHIEVEMENT: Final = "achievement"
_MILESTONE: Final = "campaign_milestone"
_LORE: Final = "lore_recorded"


def _hero_of(event: Event) -> str:
    return event.hero_id or identity(event.details, "hero_id") or ""


def _owner(event: Event) -> Any:
    return _hero_of(event) or _as_given(event, "hero_id")


def _campaign(event: Event) -> Any:
    return event.campaign_id or _as_given(event, "campaign_id")


def _as_given(event: Event, name: str) -> Any:
    return bounded(event.details.get(name))


def _title(event: Event) -> str | None:
    return identity(event.details, "title")


def _of_a_hero(name: str) -> Any:
    """Key records by hero and a detail; what has no such detail is not kept."""

    def key(event: Event) -> str | None:
        named = identity(event.details, name)
        return None if named is None else f"{_hero_of(event)}/{named}"

    return key


_HERO_ID: Final = computed(_owner)

HERO: Final = Table(
    "heroes",
    (_UPDATED, _TITLE),
    {
        "hero_id": detail("hero_id").on(_UPDATED),
        "name": detail("name").on(_UPDATED),
        "title": (detail("title").on(_UPDATED), computed(_title).on(_TITLE)),
        "level": detail("level").on(_UPDATED),
        "xp": detail("xp").on(_UPDATED),
        "rank": detail("rank").on(_UPDATED),
        "change": detail("change").on(_UPDATED),
        "updated_at": time_of(_UPDATED),
    },
    limit=256,
    key=lambda event: _hero_of(event) or None,
)

SKILL: Final = Table(
    "skills",
    (_SKILL,),
    {"hero_id": _HERO_ID, **details("skill", "level"), "reached_at": time_of(_SKILL)},
    limit=1_024,
    key=_of_a_hero("skill"),
)

TITLE: Final = Table(
    "titles",
    (_TITLE,),
    {"hero_id": _HERO_ID, **details("title", "reason"), "earned_at": time_of(_TITLE)},
    limit=256,
    key=_of_a_hero("title"),
)

ACHIEVEMENT: Final = Table(
    "achievements",
    (_ACHIEVEMENT,),
    {"hero_id": _HERO_ID, **details("name", "description"), "earned_at": time_of(_ACHIEVEMENT)},
    limit=256,
    key=_of_a_hero("name"),
)

MILESTONE: Final = Table(
    "milestones",
    (_MILESTONE,),
    {
        "campaign_id": computed(_campaign),
        **details("milestone", "step"),
        "reached_at": time_of(_MILESTONE),
    },
    limit=128,
)

LORE: Final = Table(
    "lore",
    (_LORE,),
    {"hero_id": _HERO_ID, **details("title", "text"), "recorded_at": time_of(_LORE)},
    limit=64,
)

_KINDS: Final = (_UPDATED, _TITLE, _SKILL, _ACHIEVEMENT, _MILESTONE, _LORE)


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return heroes by id, skills by hero ("" for none) and name, lists newest first."""
    skills: dict[str, dict[str, Any]] = {}
    for _, skill in section.newest(SKILL):
        hero = skill["hero_id"]
        of_hero = skills.setdefault(hero if isinstance(hero, str) else "", {})
        of_hero[str(skill["skill"])] = skill
    return {
        **section.flat(),
        "heroes": {key: hero | {"hero_id": key} for key, hero in section.newest(HERO)},
        "skills": skills,
        **{
            table.records: [record for _, record in section.newest(table)]
            for table in (TITLE, ACHIEVEMENT, MILESTONE, LORE)
        },
        "totals": reading.totals(_KINDS),
    }


GUILD: Final = SectionSpec(_KINDS, (HERO, SKILL, TITLE, ACHIEVEMENT, MILESTONE, LORE), view)

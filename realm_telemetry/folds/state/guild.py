"""The guild: heroes with their skills and titles, achievements, milestones and lore."""

from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.state.lattice import Stamp
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    complete,
    identity,
    pick,
    shown,
)

LIMITS: Final = {
    "heroes": 256,
    "skills": 1_024,
    "titles": 256,
    "achievements": 256,
    "milestones": 128,
    "lore": 64,
}

HERO_FIELDS: Final = ("hero_id", "name", "title", "level", "xp", "rank", "change", "updated_at")
SKILL_FIELDS: Final = ("hero_id", "skill", "level", "reached_at")
TITLE_FIELDS: Final = ("hero_id", "title", "reason", "earned_at")
ACHIEVEMENT_FIELDS: Final = ("hero_id", "name", "description", "earned_at")
MILESTONE_FIELDS: Final = ("campaign_id", "milestone", "step", "reached_at")
LORE_FIELDS: Final = ("hero_id", "title", "text", "recorded_at")


def _hero(section: Section, event: Event, stamp: Stamp) -> None:
    hero = _hero_of(event)
    if hero:
        fields = pick(event.details, HERO_FIELDS) | {"updated_at": event.time_unix_nano}
        section.records["heroes"].put(hero, stamp, fields)


def _title(section: Section, event: Event, stamp: Stamp) -> None:
    title = identity(event.details, "title")
    if title is None:
        return
    hero = _hero_of(event)
    _keep(section, "titles", f"{hero}/{title}", TITLE_FIELDS, event, stamp)
    if hero:
        section.records["heroes"].put(hero, stamp, {"title": title})


def _skill(section: Section, event: Event, stamp: Stamp) -> None:
    skill = identity(event.details, "skill")
    if skill is not None:
        key = f"{_hero_of(event)}/{skill}"
        _keep(section, "skills", key, SKILL_FIELDS, event, stamp)


def _achievement(section: Section, event: Event, stamp: Stamp) -> None:
    name = identity(event.details, "name")
    if name is not None:
        key = f"{_hero_of(event)}/{name}"
        _keep(section, "achievements", key, ACHIEVEMENT_FIELDS, event, stamp)


def _milestone(section: Section, event: Event, stamp: Stamp) -> None:
    _keep(section, "milestones", event.id, MILESTONE_FIELDS, event, stamp)


def _lore(section: Section, event: Event, stamp: Stamp) -> None:
    _keep(section, "lore", event.id, LORE_FIELDS, event, stamp)


def _hero_of(event: Event) -> str:
    return event.hero_id or identity(event.details, "hero_id") or ""


def _keep(
    section: Section, records: str, key: str, names: tuple[str, ...], event: Event, stamp: Stamp
) -> None:
    fields = pick(event.details, names[:-1]) | {names[-1]: event.time_unix_nano}
    owner = event.campaign_id if names[0] == "campaign_id" else _hero_of(event)
    if owner:
        fields[names[0]] = owner
    section.records[records].put(key, stamp, fields)


REDUCERS: Final = {
    "hero_updated": _hero,
    "title_earned": _title,
    "skill_level_up": _skill,
    "achievement": _achievement,
    "campaign_milestone": _milestone,
    "lore_recorded": _lore,
}

_LISTS: Final = {
    "titles": TITLE_FIELDS,
    "achievements": ACHIEVEMENT_FIELDS,
    "milestones": MILESTONE_FIELDS,
    "lore": LORE_FIELDS,
}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return heroes by id, skills by hero ("" is nobody's) and name, lists newest first."""
    skills: dict[str, dict[str, Any]] = {}
    for _, fields in section.records["skills"].newest():
        skill = complete(SKILL_FIELDS, shown(fields))
        skills.setdefault(skill["hero_id"] or "", {})[str(skill["skill"])] = skill
    return {
        **section.flat(),
        "heroes": {
            key: complete(HERO_FIELDS, shown(fields)) | {"hero_id": key}
            for key, fields in section.records["heroes"].newest()
        },
        "skills": skills,
        **{
            records: [
                complete(names, shown(fields)) for _, fields in section.records[records].newest()
            ]
            for records, names in _LISTS.items()
        },
        "totals": reading.totals(REDUCERS),
    }


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)

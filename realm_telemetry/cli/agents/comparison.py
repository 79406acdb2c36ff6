"""The tool that says what differs between two runs, such as the last good one and this one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from realm_telemetry.cli.agents.answers import bounded, fitting, text, without_nothing
from realm_telemetry.cli.agents.desk import Desk, now
from realm_telemetry.cli.agents.questions import CompareQuestion
from realm_telemetry.cli.agents.runs import brief, known_run
from realm_telemetry.client import AsyncRealmClient, ServiceError

COMPARED: Final = (
    *("command", "cwd", "git_commit", "python", "launcher", "world_size", "hosts", "attempts"),
    *("status", "reason"),
)
"""Fields of two runs that are put beside each other; configuration and numbers come apart."""

_NUMBERS: Final = ("last", "last_step", "least", "greatest", "not_finite")
_SETTINGS_CHARS: Final = 6_000
_NUMBERS_CHARS: Final = 6_000


async def compare_runs(desk: Desk, question: CompareQuestion) -> dict[str, Any]:
    """Return what differs between a run and another one; the last good one before it by default."""
    client, pages = desk.client(), desk.pages()
    position = await now(client)
    run = await known_run(client, question.run_id)
    if question.other is None:
        other, why = await _good_before(client, run)
    else:
        other, why = await known_run(client, question.other), "It was asked for."
    found = await client.compare((other["run_id"], run["run_id"]), points=2)
    settings = found["config"]["different"]
    shown = fitting(settings, _setting, _SETTINGS_CHARS)
    numbers = [each for each in found["metrics"] if not each["machine"]]
    beside = fitting(numbers, _number, _NUMBERS_CHARS)
    return {
        "run": brief(pages, run),
        "other": brief(pages, other),
        "chosen_because": why,
        "different": {name: value for name, value in _different(other, run).items() if value},
        "config_different": shown,
        "config_same": found["config"]["same"],
        "numbers": beside,
        "next": _next(run, other),
        "now": position,
        "cursor": None,
        "truncated": len(shown) < len(settings) or len(beside) < len(numbers),
        "page": f"{pages}/compare?{_query(other, run)}",
    }


async def _good_before(
    client: AsyncRealmClient, run: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Return the run that the service compares this one with, and why it does.

    Raises ServiceError if there is none of the same kind before it.
    """
    before = (await client.run_changes(run["run_id"]))["before"]
    if before is None:
        raise ServiceError(
            404,
            "run_not_found",
            f"Before {text(run['run_id'], 256)!r} no run is of its campaign, program or name.",
            "Name the one to compare it with as `other`; list_runs has all.",
        )
    well = "the last one before it that was well" if before["is_well"] else "the last one before it"
    unless = "" if before["is_well"] else " None before it was well."
    why = f"It is {well}, of the same {_KINDS[before['rule']]}.{unless}"
    return await client.run(before["run_id"]), why


_KINDS: Final = {"campaign": "campaign", "command": "program", "name": "name but for numbers"}


def _different(other: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"other": bounded(other[name], 500), "run": bounded(run[name], 500)}
        for name in COMPARED
        if other[name] != run[name]
    }


def _setting(each: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting that differs; one that a run does not have is left out."""
    sides = zip(("other", "run"), each["has"], each["values"], strict=True)
    values = {side: bounded(value, 300) for side, has, value in sides if has}
    return {"name": text(each["name"], 100), **values}


def _number(each: Mapping[str, Any]) -> dict[str, Any]:
    sides = {
        side: without_nothing({name: bounded(totals[name], 60) for name in _NUMBERS})
        for side, totals in zip(("other", "run"), each["runs"], strict=True)
        if totals is not None
    }
    return {"name": text(each["name"], 100), **sides}


def _next(run: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    commits: Sequence[Any] = (other["git_commit"], run["git_commit"])
    parts = ["series(run_id) draws the numbers of either."]
    if all(commits) and commits[0] != commits[1]:
        shown = [text(commit, 40) for commit in commits]
        parts.insert(0, f"In the repository, `git diff {shown[0]} {shown[1]}` shows the code.")
    return " ".join(parts)


def _query(*runs: Mapping[str, Any]) -> str:
    return urlencode([("run", run["run_id"]) for run in runs])

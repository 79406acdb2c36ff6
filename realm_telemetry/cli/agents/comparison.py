"""The tool that says what differs between two runs, such as the last good one and this one."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
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

_LOOKED_AT: Final = 200
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
    """Return the newest run before one that completed, and why it was chosen.

    One of the same command goes first, then one of the same program; where none completed before,
    one that has since. Raises ServiceError if there is none at all.
    """
    page = await client.runs_page(status="completed", limit=_LOOKED_AT)
    good = [
        each
        for each in page.runs
        if each["run_id"] != run["run_id"] and not (each.get("warnings") or {}).get("not_finite")
    ]
    if not good:
        raise ServiceError(
            404,
            "run_not_found",
            f"No other run has completed that {text(run['run_id'], 256)!r} is like.",
            "Name the one to compare it with as `other`; list_runs has all.",
        )
    chosen = max(good, key=lambda each: (_is_before(each, run), _likeness(each, run)))
    when = "before it" if _is_before(chosen, run) else "(none did before it)"
    why = f"It is the last one {when} that completed, {_LIKE[_likeness(chosen, run)]}."
    return await client.run(chosen["run_id"]), why


_LIKE: Final = ("perhaps of another program", "of the same program", "with the same command")


def _is_before(other: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    return bool(other["started_at"] < run["started_at"])


def _likeness(other: Mapping[str, Any], run: Mapping[str, Any]) -> int:
    """A place in _LIKE."""
    if not run["command"]:
        return 0
    if other["command"] == run["command"]:
        return 2
    return int(_program(other) == _program(run) != "")


def _program(run: Mapping[str, Any]) -> str:
    """The name of the script that a run was started with, empty if its command is not known."""
    command = run["command"]
    words = command.split() if isinstance(command, str) else [str(word) for word in command or ()]
    for place, word in enumerate(words):
        if word == "-m" and place + 1 < len(words):
            return words[place + 1]
    return PurePath(next((word for word in words if word.endswith((".py", ".sh"))), "")).name


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

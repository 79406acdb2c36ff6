"""The run before another of its kind, and what was changed since: what a person asks first when a
training that was well is not any more.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.folds.runs.fold import Reading
from realm_telemetry.folds.runs.record import RunRecord
from realm_telemetry.folds.runs.view import shown, started_at
from realm_telemetry.log.runs import RunsWanted

LOOKED_AT: Final = 200
"""Runs that were started before, among which the one before is looked for."""

RULES: Final = ("campaign", "command", "name")
"""By what runs are of a kind, the surest first."""

FACTS: Final = ("command", "cwd", "git_commit", "python", "world_size", "hosts")
"""What a run was started with, beside its settings."""

_PART: Final = re.compile(r"[^-_/.,:=\s]+")
_COUNTED: Final = re.compile(r"([^\W\d]*)\d+")
_DIGIT: Final = re.compile(r"\d")
_LETTER: Final = re.compile(r"[^\W\d]")
_INTERPRETER: Final = re.compile(r"(python|torchrun|accelerate|deepspeed|bash|sh)[\d.]*")


class _Before(NamedTuple):
    run: dict[str, Any]
    rule: str
    is_well: bool


def changes(reading: Reading, run_id: str, record: RunRecord) -> dict[str, Any]:
    """Return the run before this one of its kind, and in what they differ.

    The last that was well counts: it completed, and all its numbers were finite. If none was, the
    last one of any end. Runs are of a kind by the first rule of RULES by which any is.
    """
    run = shown(run_id, record)
    found = _before(reading, run, (started_at(record), run_id))
    if found is None:
        return {"run_id": run_id, "before": None, "config": differences(()), "facts": []}
    before = {name: found.run[name] for name in ("run_id", "status", "started_at")}
    return {
        "run_id": run_id,
        "before": before | {"rule": found.rule, "is_well": found.is_well},
        "config": differences([found.run["config"], run["config"]]),
        "facts": [
            {"name": name, "values": [found.run[name], run[name]]}
            for name in FACTS
            if found.run[name] != run[name]
        ],
    }


def _before(reading: Reading, run: Mapping[str, Any], place: tuple[int, str]) -> _Before | None:
    page, _ = reading.page(RunsWanted(below=place, limit=LOOKED_AT))
    wanted = dict(_marks(run))
    last: dict[str, _Before] = {}
    for run_id, record in page:
        earlier = shown(run_id, record)
        is_well = earlier["status"] == "completed" and earlier["warnings"]["not_finite"] is None
        for rule, mark in _marks(earlier):
            known = last.get(rule)
            if mark == wanted.get(rule) and (known is None or (is_well and not known.is_well)):
                last[rule] = _Before(earlier, rule, is_well)
    return next((last[rule] for rule in RULES if rule in last), None)


def _marks(run: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield by each rule what other runs of the kind have too."""
    if run["campaign_id"] is not None:
        yield "campaign", run["campaign_id"]
    program = program_of(run["command"])
    if program:
        yield "command", (program, run["cwd"])
    stem = stem_of(run["run_id"])
    if stem:
        yield "name", stem


def program_of(command: Any) -> str:
    """Return what a command runs, without options: `train.py` of `python -u train.py --lr 1`."""
    words = command if isinstance(command, list) else _words(command)
    program = ""
    for word in map(str, words):
        if word.startswith("-"):
            continue
        name = word.rpartition("/")[2]
        if program == "" or _INTERPRETER.fullmatch(program):
            program = name
        if not _INTERPRETER.fullmatch(program):
            break
    return program


def _words(command: Any) -> Sequence[str]:
    text = command if isinstance(command, str) else ""
    try:
        return shlex.split(text)
    except ValueError:  # a quote without its end: the command was cut
        return text.split()


def stem_of(run_id: str) -> str:
    """Return an id without what counts or was drawn: `train-#` of `train-17`; empty for no name."""
    stem = _PART.sub(_without_number, run_id)
    return stem if _LETTER.search(stem) else ""


def _without_number(part: re.Match[str]) -> str:
    counted = _COUNTED.fullmatch(part[0])
    if counted is not None:
        return f"{counted[1]}#"
    return "#" if _DIGIT.search(part[0]) else part[0]


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that are not the same everywhere, and how many are."""
    names = sorted(set().union(*configs))
    different = []
    for name in names:
        has = [name in config for config in configs]
        values = [config.get(name) for config in configs]
        # As JSON: 1, 1.0 and true are the same to Python.
        if (
            not all(has)
            or len({msgspec.json.encode(value, order="sorted") for value in values}) > 1
        ):
            different.append({"name": name, "values": values, "has": has})
    return {"different": different, "same": len(names) - len(different)}

"""How a run that ended badly goes on: what is known, and no guess beyond it."""

import shlex
from collections.abc import Mapping
from typing import Any, Final

from realm_telemetry.folds.runs.on_disk import GONE

GOES_ON: Final = frozenset({"running", "paused", "completed"})
"""Statuses of a run that nobody has to resume."""

_CODE: Final[Mapping[str, str]] = {
    "transformers": "trainer.train(resume_from_checkpoint={path})",
    "lightning": "trainer.fit(..., ckpt_path={path})",
    "pytorch_lightning": "trainer.fit(..., ckpt_path={path})",
    "accelerate": "accelerator.load_state({path})",
}
"""By the framework that the adapter named in `training_started`."""

_OPTIONS: Final[Mapping[str, str]] = {
    "transformers": "--resume_from_checkpoint",
    "lightning": "--ckpt_path",
    "pytorch_lightning": "--ckpt_path",
}
"""Options that such a program may have; they are set only where the command had them already."""

_ORIGINAL: Final = "The original command: whether it goes on from a checkpoint is up to the program"


def how_to_resume(run: Mapping[str, Any], *, supervised: bool) -> dict[str, Any] | None:
    """Return the command and what the framework needs; None where there is nothing to say.

    run: as `shown` returns it, with `last_good_checkpoint`. supervised: whether it was below
    `realm run`, which then goes on with the same run.
    """
    if run["status"] in GOES_ON:
        return None
    named = run["config"].get("framework")
    framework = named if isinstance(named, str) and named in _CODE else None
    good = run["last_good_checkpoint"]
    path = good["path"] if good is not None and good["check"] != GONE else None
    code = None
    if framework is not None and isinstance(path, str):
        code = _CODE[framework].format(path=repr(path))
    command, note = _command(run["command"], _OPTIONS.get(framework or ""), path)
    if command is None and code is None:
        return None
    if supervised and command is not None:
        command = f"realm run --run-id {shlex.quote(run['run_id'])} -- {command}"
    if code is not None and note.startswith(_ORIGINAL):
        note = f"{note}; {framework} goes on from it by `code`"
    return {
        "command": command,
        "cwd": run["cwd"],
        "framework": framework,
        "code": code,
        "note": f"{note}.",
    }


def _command(given: Any, option: str | None, path: Any) -> tuple[str | None, str]:
    """Return the command, with the checkpoint where it had one, and what it is."""
    command = shlex.join(map(str, given)) if isinstance(given, list) else given
    if not isinstance(command, str) or not command:
        return None, "The command is not known"
    if command.endswith("…"):
        return command, "The beginning of the original command, which was too long to be recorded"
    if option is not None and isinstance(path, str):
        changed = _with_option(command, option, path)
        if changed is not None:
            return changed, f"The original command with the checkpoint in {option}"
    return command, _ORIGINAL


def _with_option(command: str, option: str, path: str) -> str | None:
    """Return a command with another value of an option that it has; None if it has none."""
    try:
        words = shlex.split(command)
    except ValueError:  # no command line of a shell
        return None
    for place, word in enumerate(words):
        if word.startswith(f"{option}="):
            words[place] = f"{option}={path}"
        elif word == option and place + 1 < len(words):
            words[place + 1] = path
        else:
            continue
        return shlex.join(words)
    return None

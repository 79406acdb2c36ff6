"""Trainings with the real frameworks, tiny and random, in programs of their own.

They need an environment that `make test-frameworks` makes; elsewhere they are not collected.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]

REALM = str(Path(sys.executable).with_name("realm"))
OTHERS = ("REALM_", "OTEL_", "PYTEST", "TORCHELASTIC_", "SLURM_", "HF_", "RANK", "WORLD_SIZE")
TIMEOUT_S = 110

HOSTILE = '''
class Hostile(torch.Tensor):
    """A tensor on a device: whoever reads its value fails."""
    device = property(lambda self: "cuda:0")
    def _read(self, *_): raise AssertionError("read")
    item = tolist = __float__ = __int__ = __bool__ = __repr__ = __str__ = numpy = cpu = _read
    __format__ = __array__ = _read
def hostile(): return torch.zeros(()).as_subclass(Hostile)
'''


class Told(NamedTuple):
    """A program that has ended, and what its home knows then."""

    code: int
    output: str
    errors: str
    events: list[dict[str, Any]]
    home: Path

    def of(self, *kinds: str, run: str | None = None) -> list[dict[str, Any]]:
        """The details of the events of some kinds, oldest first."""
        return [
            event["details"]
            for event in self.events
            if event["kind"] in kinds and run in (None, event["run_id"])
        ]

    def one(self, kind: str, run: str | None = None) -> dict[str, Any]:
        """The details of the only event of a kind."""
        (details,) = self.of(kind, run=run)
        return details

    def kinds(self, *leaving_out: str) -> list[str]:
        """The kinds in order."""
        return [event["kind"] for event in self.events if event["kind"] not in leaving_out]

    def run(self, name: str) -> dict[str, Any]:
        """What the log makes of a run."""
        answer: dict[str, Any] = json.loads(_realm(self.home, "show", name, "--log", "--json"))
        return answer

    def runs(self) -> dict[str, dict[str, Any]]:
        """What the log makes of each run, by id."""
        found = json.loads(_realm(self.home, "runs", "--log", "--json"))
        return {run["run_id"]: run for run in found}


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's environment without what names a run; nothing is downloaded."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    return (
        kept
        | {
            "REALM_HOME": str(home),
            "REALM_EXPORTERS": "battle_log",
            "REALM_SERVICE_URL": "http://127.0.0.1:9",
            "HF_HUB_OFFLINE": "1",
            "KERAS_BACKEND": "torch",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        | more
    )


def tell(
    home: Path,
    command: Sequence[str],
    *,
    under: str | None = None,
    timeout_s: float = TIMEOUT_S,
    **more: str,
) -> Told:
    """Run a program to its end, below `realm run` with a run id or bare, and read the log."""
    realm = [] if under is None else [REALM, "run", "--run-id", under, "--"]
    done = subprocess.run(
        [*realm, *command],
        env=environment(home, **more),
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    _realm(home, "ship", "--once")
    lines = _realm(home, "query", "--jsonl", "-n", "1000").splitlines()
    events = [json.loads(line) for line in lines][::-1]
    return Told(done.returncode, done.stdout, done.stderr, events, home)


def _realm(home: Path, *words: str) -> str:
    done = subprocess.run(
        [REALM, *words], env=environment(home), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    return done.stdout


def script(path: Path, code: str) -> str:
    """Write a program; return its path."""
    path.write_text(code, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that the tests of a file share."""
    return tmp_path_factory.mktemp("trainings")

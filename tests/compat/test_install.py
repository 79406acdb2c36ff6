"""`install()`: unchanged imports work, and no `core` package is shadowed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

INSTALL = "from realm_telemetry.compat import install; install(); install(); import json, sys\n"


def run(code: str, home: Path, *paths: Path) -> Any:
    """Run code in an interpreter of its own and return what it printed as JSON."""
    environment = {
        "PYTHONPATH": ":".join(map(str, paths)),
        "REALM_HOME": str(home),
        "REALM_SHIPPER": "thread",
        "REALM_EXPORTERS": "battle_log",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INSTALL + code],
        env=environment, cwd=home.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def make_core(place: Path, **modules: str) -> Path:
    """A directory with a package `core` of these modules."""
    (place / "core").mkdir(parents=True)
    for name, content in modules.items():
        (place / "core" / f"{name}.py").write_text(content)
    return place


def test_unchanged_code_imports_and_emits(home: Path) -> None:
    code = """
from core.event_bus import checkpoint_saved
from core.realm_store import get_events
from core.battle_log import get_battle_logger
import core.event_bus, realm_telemetry.compat.event_bus
assert core.event_bus is realm_telemetry.compat.event_bus
checkpoint_saved(step=1000, loss=0.5, path="checkpoints/1000")
(entry,) = get_battle_logger().get_events(channels=["checkpoint"], limit=10)
print(json.dumps([get_events(limit=10)[0]["kind"], entry.message]))
"""
    assert run(code, home) == ["checkpoint_saved", "Checkpoint 1,000 saved (loss: 0.5000)"]


def test_a_core_package_that_exists_gets_only_what_it_lacks(home: Path, tmp_path: Path) -> None:
    lab = make_core(
        tmp_path / "site", __init__="OURS = True", events="def emit_event(): return 'ours'"
    )
    code = """
import core, core.events, core.event_bus
print(json.dumps([core.OURS, core.events.emit_event(), core.event_bus.__name__]))
"""
    assert run(code, home, lab) == [True, "ours", "realm_telemetry.compat.event_bus"]


def test_a_core_without_init_keeps_its_modules(home: Path, tmp_path: Path) -> None:
    lab = make_core(tmp_path / "site", vault="NAME = 'ours'", battle_log="NAME = 'ours too'")
    code = """
from core import vault, battle_log, realm_store
print(json.dumps([vault.NAME, battle_log.NAME, realm_store.__name__]))
"""
    answer = ["ours", "ours too", "realm_telemetry.compat.realm_store"]
    assert run(code, home, lab) == answer


def test_modules_of_a_core_that_comes_onto_the_path_later_are_found(
    home: Path, tmp_path: Path
) -> None:
    lab = make_core(tmp_path / "later", vault="NAME = 'late'")
    code = f"""
import core.event_bus
sys.path.insert(0, {str(lab)!r})
import core.vault
print(json.dumps(core.vault.NAME))
"""
    assert run(code, home) == "late"


def test_arena_and_other_names_are_not_touched(home: Path) -> None:
    code = """
missing = []
for name in ("arena", "arena.battle_log", "core.vault", "core.training_status"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        missing.append(name)
print(json.dumps(missing))
"""
    assert len(run(code, home)) == 4

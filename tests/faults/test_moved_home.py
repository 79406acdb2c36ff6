"""A home that is renamed, replaced or deleted under a live producer."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.slow]

REALM = str(Path(sys.executable).with_name("realm"))
EMIT = """
import os, shutil, sys
import realm_telemetry as realm
home = os.environ["REALM_HOME"]
begun = realm.configure(service_name="x", exporters=["battle_log"])
for number in range(100):
    realm.note(message=str(number))
assert realm.flush(60), realm.flush_problem()
{change}
for number in range(100, 2000):
    assert realm.note(message=str(number), pad="y" * 300).number
assert realm.flush(60), realm.flush_problem()
assert begun.dropped == 0
"""
RENAME = "os.rename(home, home + '-renamed')\n"


def run(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        arguments,
        env=dict(os.environ, REALM_HOME=str(home)),
        capture_output=True,
        text=True,
        timeout=60,
    )


def numbers(home: Path) -> list[int]:
    shipped = run(home, REALM, "ship", "--once")
    assert shipped.returncode == 0, shipped.stdout
    found = run(home, REALM, "query", "--jsonl", "-n", "5000").stdout.splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in found]
    return sorted(int(event["message"]) for event in events)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (RENAME, "home-renamed"),
        (RENAME + "os.mkdir(home, 0o700)", "home-renamed"),
        (RENAME + "os.symlink(home + '-renamed', home)", "home"),
        ("shutil.rmtree(home)", "home"),
    ],
    ids=["renamed", "renamed and made anew", "replaced by a link", "deleted"],
)
def test_what_was_acknowledged_reaches_a_log_and_a_warning_names_it(
    change: str, name: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    done = run(home, sys.executable, "-c", EMIT.format(change=change))
    assert done.returncode == 0, done.stderr
    assert numbers(tmp_path / name) == list(range(2000))
    if "link" not in change:
        assert str(tmp_path / name) in done.stderr


@pytest.mark.parametrize("manifest", [None, "", "{}", "garbage", '{"version": 7}', "[" * 100_000])
def test_a_manifest_that_cannot_be_read_is_a_problem_that_names_it(
    manifest: str | None, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    code = "import realm_telemetry as realm\nrealm.configure(service_name='x', shipper='none')\n"
    run(home, sys.executable, "-c", code + "realm.note(message='1')")
    (path,) = home.glob("spool/*/manifest.json")
    path.unlink() if manifest is None else path.write_text(manifest)
    done = run(home, REALM, "ship", "--once")
    assert done.returncode == 1
    assert str(path) in done.stdout

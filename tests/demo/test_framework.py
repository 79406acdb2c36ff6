"""`realm demo --framework` where the packages are missing; tests/frameworks has the rest."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from realm_telemetry.cli.group import realm
from realm_telemetry.cli.problems import EXIT_USAGE
from realm_telemetry.demo import framework


@pytest.mark.skipif(find_spec("torch") is not None, reason="the packages are here")
def test_missing_packages_are_named_with_how_to_install_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    shown = CliRunner().invoke(realm, ["--home", str(home), "demo", "--framework", "transformers"])
    assert shown.exit_code == EXIT_USAGE
    assert "needs torch" in shown.output
    assert "pip install torch transformers accelerate" in shown.output
    assert not home.exists()


def test_two_demos_at_once_are_refused() -> None:
    shown = CliRunner().invoke(realm, ["demo", "--endings", "--framework", "transformers"])
    assert shown.exit_code == EXIT_USAGE
    assert "name one" in shown.output


def test_each_framework_that_can_be_chosen_has_a_training() -> None:
    directory = Path(framework.__file__).parent
    assert all((directory / f"{name}_training.py").exists() for name in framework.NEEDED)

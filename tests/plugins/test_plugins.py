"""Plugins are found by name, and what is wrong with one is reported with the fix."""

from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.plugins import (
    ExporterContext,
    installed,
    load_exporter,
    load_processor,
)

GROUP = "realm_telemetry.exporters"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the path, for distributions of this test."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    return directory


def distribution(site: Path, name: str, entries: str, **modules: str) -> None:
    """Lay a distribution out as an installer does."""
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entries)
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)


def context(**options: Any) -> ExporterContext:
    home = Path("/nonexistent")
    return ExporterContext(home=home, log_path=home / "jobs.db", options=options)


FOREIGN = """
class Foreign:
    def __init__(self, endpoint="here"):
        self.endpoint = endpoint
    def export(self, batch):
        return None
"""


def test_a_foreign_exporter_is_built_from_its_options(site: Path) -> None:
    entries = "[opentelemetry_logs_exporter]\nforeign = foreign_one:Foreign\n"
    distribution(site, "foreign-dist", entries, foreign_one=FOREIGN)
    assert load_exporter("foreign", context()).endpoint == "here"
    assert load_exporter("foreign", context(endpoint="there")).endpoint == "there"
    with pytest.raises(ConfigError, match=r"options\.foreign.*colour"):
        load_exporter("foreign", context(colour="red"))
    (info,) = [each for each in installed() if each.name == "foreign"]
    assert (info.distribution, info.version, info.status) == ("foreign-dist", "1.2", "ok")


def test_a_module_and_attribute_need_no_entry_point(site: Path) -> None:
    (site / "loose_one.py").write_text(FOREIGN)
    assert load_exporter("loose_one:Foreign", context()).endpoint == "here"


def test_an_unknown_name_brings_the_nearest_and_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'jsonl'\?.*battle_log") as caught:
        load_exporter("json", context())
    assert "json" in caught.value.setting
    with pytest.raises(ConfigError, match="Install the distribution that does"):
        load_exporter("zzzzzz", context())


def test_two_distributions_with_one_name_are_both_named(site: Path) -> None:
    entries = f"[{GROUP}]\ntwice = two_one:Foreign\n"
    distribution(site, "first-dist", entries, two_one=FOREIGN)
    distribution(site, "second-dist", entries.replace("two_one", "two_two"), two_two=FOREIGN)
    with pytest.raises(ConfigError, match=r"first-dist .* second-dist|second-dist .* first-dist"):
        load_exporter("twice", context())
    assert {each.status for each in installed() if each.name == "twice"} == {"duplicate"}
    assert load_exporter("two_two:Foreign", context())


def test_a_name_that_opentelemetrys_group_has_too_means_ours(site: Path) -> None:
    """The other one is still there, under its module and attribute."""
    entries = "[opentelemetry_logs_exporter]\njsonl = their_jsonl:Foreign\n"
    distribution(site, "their-dist", entries, their_jsonl=FOREIGN)
    found = {each.distribution: each for each in installed() if each.name == "jsonl"}
    assert found["realm-telemetry"].status == "ok"
    assert found["their-dist"].status == "hidden"
    assert found["their-dist"].problem == (
        "the name means that of realm-telemetry; to use that of their-dist, name it"
        " 'their_jsonl:Foreign'"
    )
    assert type(load_exporter("jsonl", context())).__name__ == "JsonlExporter"
    assert type(load_exporter("their_jsonl:Foreign", context())).__name__ == "Foreign"


def test_one_distribution_seen_twice_on_the_path_is_no_duplicate(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = f"[{GROUP}]\nmirrored = mirrored_one:Foreign\n"
    distribution(site, "mirrored-dist", entries, mirrored_one=FOREIGN)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.syspath_prepend(str(other))
    distribution(other, "mirrored-dist", entries)
    assert load_exporter("mirrored", context())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import zstandard.not_there_at_all", r"realm-telemetry\[service\]"),
        ("import nowhere_to_be_found", "distribution that has 'nowhere_to_be_found'"),
        ("1 / 0", "ZeroDivisionError.*Reinstall or update broken-dist"),
        ("from os import no_such_name", "ImportError.*Reinstall or update broken-dist"),
        ("other = 1", "AttributeError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_says_what_to_do(
    site: Path, source: str, words: str
) -> None:
    module = f"broken_{abs(hash(source))}"
    entries = f"[{GROUP}]\nbroken = {module}:Exporter\n"
    distribution(site, "broken-dist", entries, **{module: source})
    with pytest.raises(ConfigError, match=words):
        load_exporter("broken", context())
    (info,) = [each for each in installed() if each.name == "broken"]
    assert info.status == "broken"
    assert info.problem


def test_what_cannot_export_is_no_exporter() -> None:
    with pytest.raises(ConfigError, match="no export method"):
        load_exporter("builtins:dict", context())


def test_processors_are_functions_or_classes(site: Path) -> None:
    source = "def keep(event):\n    return event\n\nclass Stateful:\n    __call__ = None\n"
    entries = "[realm_telemetry.processors]\nkeep = proc_one:keep\nstate = proc_one:Stateful\n"
    distribution(site, "proc-dist", entries, proc_one=source)
    assert load_processor("keep")(7) == 7
    assert type(load_processor("state")).__name__ == "Stateful"
    with pytest.raises(ConfigError, match="Did you mean 'keep'"):
        load_processor("keeps")


def test_ours_are_installed_in_both_groups() -> None:
    ours = {(each.group, each.name) for each in installed() if each.status == "ok"}
    assert {(GROUP, "battle_log"), (GROUP, "realm_service"), (GROUP, "jsonl")} <= ours
    assert ("opentelemetry_logs_exporter", "realm_jsonl") in ours

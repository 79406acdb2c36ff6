"""Import paths of version 0.1.0 work, and warn with the new path."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

import realm_telemetry
from realm_telemetry.compat.renamed import RENAMED

SHOWN = (
    "realm_telemetry.catalog: KIND_METADATA",
    "realm_telemetry.console: printable",
    "realm_telemetry.history.exporting: export_events",
    "realm_telemetry.history.importing: import_files",
    "realm_telemetry.history.replaying: replay_events",
    "realm_telemetry.instrument: emits",
    "realm_telemetry.integrations.opentelemetry: DurableLogRecordProcessor",
    "realm_telemetry.integrations.opentelemetry.configurator: after_instrumenting",
    "realm_telemetry.integrations.opentelemetry.distro: RealmDistro",
    "realm_telemetry.kinds: checkpoint_saved",
    "realm_telemetry.kinds: job_started",
    "realm_telemetry.log.reader: LogReader",
    "realm_telemetry.log.writer: LogWriter",
    "realm_telemetry.pipeline: manifest",
    "realm_telemetry.retry_after: retry_after_s",
    "realm_telemetry.state: RealmState",
    "realm_telemetry.telemetry: configure",
    "realm_telemetry.values: make_safe",
)
"""What documents, examples and tests imported, by module."""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No old path has been imported yet."""
    for old in RENAMED:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{_path(old)}.")]:
            monkeypatch.delitem(sys.modules, name)


@contextmanager
def _warned() -> Iterator[list[warnings.WarningMessage]]:
    """Catch warnings; all are deprecations, those of the packages on the way first."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
    assert {warning.category for warning in caught} == {DeprecationWarning}


def _path(name: str) -> str:
    return f"realm_telemetry.{name}"


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_path_is_the_new_module_and_warns(old: str) -> None:
    new = _path(RENAMED[old])
    with _warned() as caught:
        assert import_module(_path(old)) is import_module(new)
    assert str(caught[-1].message) == f"{_path(old)} is deprecated; use {new}"


@pytest.mark.parametrize("shown", SHOWN)
def test_what_was_shown_can_be_imported_by_its_old_path(shown: str) -> None:
    module, _, name = shown.partition(": ")
    scope: dict[str, object] = {}
    with _warned() as caught:
        exec(f"from {module} import {name}", scope)
    assert name in scope
    assert str(caught[-1].message).startswith(module)


def test_no_row_hides_a_module() -> None:
    root = Path(realm_telemetry.__file__).parent
    hidden = [
        old
        for old in RENAMED
        for path in (root / old.replace(".", "/"),)
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists()
    ]
    assert hidden == ["catalog", "history"], "these two are for live processes of 0.1.0"


def test_a_module_inside_a_renamed_package_is_loaded_once() -> None:
    with _warned():
        from realm_telemetry.state import fold  # type: ignore[import-not-found]

    assert fold is sys.modules["realm_telemetry.folds.state.fold"]


def test_the_warning_names_the_line_that_imports() -> None:
    with _warned() as caught:
        from realm_telemetry.older_shapes import older_line  # type: ignore[import-not-found]
    assert callable(older_line)
    assert Path(caught[0].filename).name == Path(__file__).name


def test_a_path_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("realm_telemetry.never_was")
    with pytest.raises(ImportError):
        exec("from realm_telemetry.kinds import never_was")


def test_a_process_of_the_old_version_finds_the_catalog_as_a_file(tmp_path: Path) -> None:
    code = (
        "import sys, realm_telemetry\n"
        "sys.meta_path = [one for one in sys.meta_path if 'renamed' not in type(one).__module__]\n"
        "import realm_telemetry.catalog as catalog\n"
        "assert catalog.__file__.endswith('realm_telemetry/catalog.py')\n"
        "assert catalog.KIND_METADATA is realm_telemetry.KIND_METADATA\n"
        "assert catalog.event_from_dict, catalog.event_to_dict\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path)

"""What old code imports when it is already running must be there in the new files.

A process that lives on after an upgrade imports by the old names: in functions, by entry points,
and by `python -m`. Names that users import by the documentation stay as well.
"""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from .processes import Producer
from .trees import ROOT, Tree

STABLE_MODULES: Final = (
    "realm_telemetry.catalog",
    "realm_telemetry.testing",
    "realm_exporter_webhook.engine",
    "realm_exporter_webhook.templates",
)

LATE_IMPORTS: Final = {
    # A producer whose spool was full, one that was forked, one that replays.
    "realm_telemetry.emission": ["emit"],
    "realm_telemetry.pipeline.manifest": ["read_manifest"],
    "realm_telemetry.history.replaying": ["replay_events"],
    # A shipper in a thread: started in a forked child, trimming, delivering log records.
    "realm_telemetry.shipper.inside": ["ThreadShipper"],
    "realm_telemetry.shipper.coverage": ["Coverage"],
    "realm_telemetry.otel": [
        "LogRecordExportResult",
        "apply_log_record_processor",
        "to_log_record",
    ],
    "realm_telemetry.otel.sdk": ["Resource"],
    # What a program that has installed the older names imports for the first time.
    "realm_telemetry.compat.event_bus": [],
    "realm_telemetry.compat.events": [],
    "realm_telemetry.compat.realm_store": [],
    "realm_telemetry.compat.battle_log": [],
    # A command that runs for long, when it fails.
    "realm_telemetry.client": ["ServiceError"],
    "realm_telemetry.log.filters": ["InvalidFilterError"],
    "realm_telemetry.plugins": ["ExporterContext", "exporter_class"],
    "realm_telemetry.log.writer": ["LogWriter"],
    # An exporter's channel, made at its first request.
    "realm_exporter_otlp.over_http": ["HttpChannel"],
    "realm_exporter_otlp.over_grpc": ["GrpcChannel"],
}


def imported_names(old: Tree, documents: Path) -> dict[str, set[str]]:
    """The names that old code and the documentation take from the stable modules."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in old.site.rglob("*.py"):
        for module, name in _imports(path.read_text()):
            found[module].add(name)
    for path in documents.rglob("*.md"):
        for module, names in re.findall(
            r"from (realm_\w+(?:\.\w+)*) import ([\w, ]+)", path.read_text()
        ):
            found[module].update(names.replace(" ", "").split(","))
    return {module: found[module] for module in STABLE_MODULES}


def _imports(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in STABLE_MODULES:
            yield from ((node.module, alias.name) for alias in node.names)


def missing(tree: Tree, wanted: dict[str, list[str]]) -> dict[str, str]:
    """What a fresh process of a tree cannot import, by module."""
    code = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
failed = {}
for module, names in json.loads(sys.argv[1]).items():
    try:
        found = importlib.import_module(module)
        gone = [name for name in names if not hasattr(found, name)]
        if gone:
            failed[module] = f"has no {gone}"
    except ImportError as error:
        failed[module] = repr(error)
print(json.dumps(failed))
"""
    done = tree.run("-c", code, json.dumps(wanted))
    assert done.returncode == 0, done.stderr
    failed: dict[str, str] = json.loads(done.stdout)
    return failed


def test_names_that_were_taken_from_stable_modules_are_still_there(
    old_tree: Tree, new_tree: Tree
) -> None:
    wanted = {
        name: sorted(names) for name, names in imported_names(old_tree, ROOT / "docs").items()
    }
    wanted["realm_telemetry.testing"] += ["CASES", "BrokenServer", "Case", "ConformanceError"]
    wanted["realm_telemetry.testing"] += ["FakeClock", "Subject", "check_exporter", "sample_events"]
    assert all(wanted.values()), "each of the modules is used by somebody"
    assert missing(old_tree, wanted) == {}
    assert missing(new_tree, wanted) == {}


def test_names_that_a_running_process_imports_late_are_still_there(
    old_tree: Tree, new_tree: Tree
) -> None:
    assert missing(old_tree, LATE_IMPORTS) == {}
    assert missing(new_tree, LATE_IMPORTS) == {}


@pytest.mark.parametrize("module", [*STABLE_MODULES, *LATE_IMPORTS])
def test_an_old_process_can_import_it_after_the_upgrade(
    installed: Tree, upgraded: Tree, produce: Callable[..., Producer], module: str
) -> None:
    """Old modules are in memory by then, so that new files have to do with those."""
    producer = produce(installed, shipper="none")
    installed.become(upgraded)
    names = LATE_IMPORTS.get(module, [])
    assert producer.ask("take", module=module, names=names)["missing"] == []


def test_entry_points_of_old_metadata_resolve_to_new_code(old_tree: Tree, new_tree: Tree) -> None:
    """A process that has read the old metadata loads plugins from new files by the old names."""
    (path,) = old_tree.site.glob("*.dist-info/entry_points.txt")
    points = re.findall(r"= (realm_[\w.]+):(\w+)$", path.read_text(), re.MULTILINE)
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for module, name in points:
        wanted[module].append(name)
    assert "realm_exporter_webhook" in wanted
    assert missing(old_tree, wanted) == {}
    assert missing(new_tree, wanted) == {}

"""The tables of the catalog agree with the design, with each other and with the document."""

import re
from pathlib import Path

import pytest

from realm_telemetry.event import CHANNELS, SEVERITIES
from realm_telemetry.kinds import catalog
from realm_telemetry.kinds.table import KINDS

GIVEN = {
    "job_submitted": ("jobs", "info"),
    "job_started": ("jobs", "info"),
    "job_completed": ("jobs", "success"),
    "job_failed": ("jobs", "error"),
    "training_started": ("training", "info"),
    "training_completed": ("training", "success"),
    "training_paused": ("training", "warning"),
    "training_failed": ("training", "error"),
    "checkpoint_saved": ("checkpoint", "success"),
    "checkpoint_promoted": ("checkpoint", "success"),
    "checkpoint_deleted": ("checkpoint", "info"),
    "eval_started": ("eval", "info"),
    "eval_completed": ("eval", "success"),
    "eval_regression": ("eval", "warning"),
    "dataset_generated": ("data", "success"),
    "curriculum_updated": ("data", "info"),
    "forge_batch_ready": ("data", "info"),
    "server_started": ("system", "success"),
    "server_stopped": ("system", "info"),
    "config_reloaded": ("system", "info"),
    "worker_joined": ("system", "success"),
    "worker_left": ("system", "warning"),
    "warning_raised": ("system", "warning"),
    "title_earned": ("guild", "success"),
    "skill_level_up": ("guild", "success"),
    "achievement": ("guild", "success"),
}


def test_the_given_kinds_are_exact():
    assert {kind: catalog.KIND_METADATA[kind] for kind in GIVEN} == GIVEN


def test_no_kind_stands_in_the_table_twice():
    assert len(KINDS) == len(catalog.KIND_METADATA)


@pytest.mark.parametrize("kind", catalog.KIND_METADATA)
def test_every_kind_has_a_known_channel_and_severity(kind):
    channel, severity = catalog.KIND_METADATA[kind]
    assert channel in CHANNELS
    assert severity in SEVERITIES


def test_every_channel_and_severity_has_its_icon_and_words():
    assert tuple(catalog.CHANNEL_ICONS) == tuple(catalog.CHANNEL_DESCRIPTIONS) == CHANNELS
    assert tuple(catalog.SEVERITY_ICONS) == tuple(catalog.SEVERITY_COLOURS) == SEVERITIES


def test_the_colours_are_those_of_the_older_screens():
    assert catalog.SEVERITY_COLOURS == {
        "info": "#888",
        "success": "#4CAF50",
        "warning": "#ffa726",
        "error": "#ff6b6b",
    }


def test_routine_kinds_are_built_in_and_marked():
    assert set(catalog.KIND_METADATA) >= catalog.ROUTINE_KINDS
    marked = {spec.kind for spec in catalog.kinds() if spec.routine}
    assert marked >= catalog.ROUTINE_KINDS
    assert catalog.is_routine("training_step")
    assert not catalog.is_routine("checkpoint_saved")
    assert not catalog.is_routine("never_heard_of")


def test_the_pages_have_the_same_routine_kinds():
    package = Path(catalog.__file__).parents[1]
    source = (package / "service/web/src/stream/event.ts").read_text(encoding="utf-8")
    listed = re.search(r"ROUTINE_KINDS[^=]*= new Set\(\[(.*?)\]", source, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == catalog.ROUTINE_KINDS


def test_a_spec_tells_what_the_table_says():
    spec = catalog.spec("checkpoint_saved")
    assert (spec.channel, spec.severity, spec.routine) == ("checkpoint", "success", False)
    assert spec.registered
    assert spec.template == "Checkpoint {step:,} saved (loss: {loss:.4f})"


def test_an_unknown_kind_is_system_info_and_not_registered():
    spec = catalog.spec("never_heard_of")
    assert (spec.channel, spec.severity, spec.registered) == ("system", "info", False)


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (("job_failed", None, None), ("jobs", "error")),
        (("job_failed", "debug", None), ("debug", "error")),
        (("job_failed", None, "info"), ("jobs", "info")),
        (("job_failed", "debug", "info"), ("debug", "info")),
        (("never_heard_of", None, None), ("system", "info")),
        (("never_heard_of", "data", None), ("data", "info")),
    ],
)
def test_resolve_fills_in_only_what_is_missing(given, resolved):
    assert catalog.resolve(*given) == resolved

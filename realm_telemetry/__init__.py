"""Event telemetry for model training: crash-proof, live and historic at once, local first.

import realm_telemetry as realm

realm.configure(service_name="training_daemon")
realm.checkpoint_saved(step=183_000, loss=0.234, path="ckpt/183000")
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from realm_telemetry.compat import renamed as _renamed
from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.kinds.catalog import KIND_METADATA, KindSpec
from realm_telemetry.kinds.typed import (
    achievement,
    assertion_failed,
    campaign_milestone,
    checkpoint_archived,
    checkpoint_deleted,
    checkpoint_promoted,
    checkpoint_saved,
    config_reloaded,
    curriculum_updated,
    dataset_generated,
    disk_low,
    error_occurred,
    eval_cancelled,
    eval_completed,
    eval_failed,
    eval_regression,
    eval_started,
    eval_suite_triggered,
    evaluation_finished,
    evaluation_started,
    events_dropped,
    fatal_signal,
    forge_batch_ready,
    hero_updated,
    host_heard_again,
    host_lost,
    job_cancelled,
    job_claimed,
    job_completed,
    job_failed,
    job_retried,
    job_started,
    job_submitted,
    ledger_updated,
    lore_recorded,
    loss_not_finite,
    loss_spiked,
    lr_changed,
    memory_pressure,
    mode_changed,
    note,
    process_lost,
    queue_backlog,
    resource_sampled,
    retention_applied,
    run_ended,
    run_resumed_progress,
    run_stalled,
    run_started,
    section_updated,
    server_started,
    server_stopped,
    signal_received,
    skill_level_up,
    stack_captured,
    title_earned,
    training_cancelled,
    training_completed,
    training_failed,
    training_paused,
    training_resumed,
    training_started,
    training_step,
    uncaught_exception,
    vault_archived,
    vault_cleanup,
    vault_sync,
    warning_raised,
    worker_heartbeat,
    worker_joined,
    worker_left,
    worker_stale,
)
from realm_telemetry.producer.api import (
    bound,
    configure,
    emit,
    flush,
    flush_problem,
    get_telemetry,
    register_kind,
    shutdown,
)
from realm_telemetry.producer.instrument import emits, lifecycle
from realm_telemetry.producer.step_loop import steps
from realm_telemetry.producer.steps import CallableModule, log, progress, run_config
from realm_telemetry.producer.telemetry import Telemetry
from realm_telemetry.version import __version__

if TYPE_CHECKING:
    from realm_telemetry.transfer.replay import replay_events

    # Not imported even here: the commands stand on top of what imports this package.
    show: Any

__all__ = [
    "KIND_METADATA",
    "ConfigError",
    "Event",
    "ExportError",
    "InvalidEventError",
    "KindSpec",
    "Telemetry",
    "__version__",
    "achievement",
    "assertion_failed",
    "bound",
    "campaign_milestone",
    "checkpoint_archived",
    "checkpoint_deleted",
    "checkpoint_promoted",
    "checkpoint_saved",
    "config_reloaded",
    "configure",
    "curriculum_updated",
    "dataset_generated",
    "disk_low",
    "emit",
    "emits",
    "error_occurred",
    "eval_cancelled",
    "eval_completed",
    "eval_failed",
    "eval_regression",
    "eval_started",
    "eval_suite_triggered",
    "evaluation_finished",
    "evaluation_started",
    "events_dropped",
    "fatal_signal",
    "flush",
    "flush_problem",
    "forge_batch_ready",
    "get_telemetry",
    "hero_updated",
    "host_heard_again",
    "host_lost",
    "job_cancelled",
    "job_claimed",
    "job_completed",
    "job_failed",
    "job_retried",
    "job_started",
    "job_submitted",
    "ledger_updated",
    "lifecycle",
    "log",
    "lore_recorded",
    "loss_not_finite",
    "loss_spiked",
    "lr_changed",
    "memory_pressure",
    "mode_changed",
    "note",
    "process_lost",
    "progress",
    "queue_backlog",
    "register_kind",
    "replay_events",
    "resource_sampled",
    "retention_applied",
    "run_config",
    "run_ended",
    "run_resumed_progress",
    "run_stalled",
    "run_started",
    "section_updated",
    "server_started",
    "server_stopped",
    "show",
    "shutdown",
    "signal_received",
    "skill_level_up",
    "stack_captured",
    "steps",
    "title_earned",
    "training_cancelled",
    "training_completed",
    "training_failed",
    "training_paused",
    "training_resumed",
    "training_started",
    "training_step",
    "uncaught_exception",
    "vault_archived",
    "vault_cleanup",
    "vault_sync",
    "warning_raised",
    "worker_heartbeat",
    "worker_joined",
    "worker_left",
    "worker_stale",
]


_renamed.install()


class _Package(ModuleType):
    """This package, in which `realm.log` stays callable once `log` is imported as a package."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Make the package `log` callable when the import system puts it here."""
        if name == "log" and isinstance(value, ModuleType):
            value.__class__ = CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


_READING = {
    "replay_events": "realm_telemetry.transfer.replay",
    "show": "realm_telemetry.cli.notebook",
}
"""Names that are imported at their first use: no producer needs the reading side."""


def __getattr__(name: str) -> Any:
    if name not in _READING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_READING[name]), name)

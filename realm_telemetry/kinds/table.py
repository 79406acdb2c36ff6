"""The tables of the catalog: built-in kinds, channels and severities.

KINDS has one row per built-in kind. A message template is a format string over the details. In
its parentheses, parts are divided by ", "; a part is left out when a field of it is missing, and
with the last part the parentheses.
"""

from typing import Final

CHANNEL_ICONS: Final[dict[str, str]] = {
    "system": "⚙️",
    "jobs": "⚔️",
    "training": "📈",
    "eval": "📊",
    "vault": "🗃️",
    "guild": "🏰",
    "debug": "🔧",
    "data": "📦",
    "checkpoint": "💾",
}
CHANNEL_DESCRIPTIONS: Final[dict[str, str]] = {
    "system": "Servers, workers, configuration and telemetry itself",
    "jobs": "The job queue: submitted, claimed, started, finished",
    "training": "Training runs, their steps and learning rate",
    "eval": "Evaluations of skills, and regressions they find",
    "vault": "Long-term storage: sync, archive, cleanup, retention",
    "guild": "Heroes, titles, skills, campaigns and lore",
    "debug": "Diagnostics for developers",
    "data": "Datasets, the curriculum and the forge",
    "checkpoint": "Checkpoints saved, promoted, archived and deleted",
}
SEVERITY_ICONS: Final[dict[str, str]] = {
    "info": "ℹ️",
    "success": "✅",
    "warning": "⚠️",
    "error": "❌",
}
SEVERITY_COLOURS: Final[dict[str, str]] = {
    "info": "#888",
    "success": "#4CAF50",
    "warning": "#ffa726",
    "error": "#ff6b6b",
}

# fmt: off
KINDS: Final[tuple[tuple[str, str, str, str | None], ...]] = (
    # kind, channel, severity, message template
    ("job_submitted", "jobs", "info", "Job {job_id} submitted ({job_type})"),
    ("job_claimed", "jobs", "info", "Job {job_id} claimed by {worker_id}"),
    ("job_started", "jobs", "info", "Job {job_id} started ({job_type}, on {worker_id})"),
    ("job_completed", "jobs", "success", "Job {job_id} completed ({duration_s:.1f} s)"),
    ("job_failed", "jobs", "error", "Job {job_id} failed: {error}"),
    ("job_cancelled", "jobs", "warning", "Job {job_id} cancelled ({reason})"),
    ("job_retried", "jobs", "warning", "Job {job_id} goes back to the queue (attempt {attempt})"),
    ("queue_backlog", "jobs", "warning", "{depth:,} jobs wait (oldest {oldest_age_s:,.0f} s)"),

    ("training_started", "training", "info", "Training started ({model}, {total_steps:,} steps)"),
    ("training_step", "training", "info", "Step {step:,}: loss {loss:.4f}"),
    ("training_completed", "training", "success",
     "Training completed (step {step:,}, loss: {loss:.4f}, {duration_s:.1f} s)"),
    ("training_paused", "training", "warning", "Training paused (step {step:,}, {reason})"),
    ("training_resumed", "training", "info", "Training resumed (step {step:,})"),
    ("training_failed", "training", "error", "Training failed: {error} (step {step:,})"),
    ("training_cancelled", "training", "warning", "Training cancelled (step {step:,}, {reason})"),
    ("lr_changed", "training", "info",
     "Learning rate is {learning_rate:g} (was {previous:g}, step {step:,})"),

    ("run_started", "training", "info", "Run started ({command}, {world_size} processes)"),
    ("run_config", "training", "info", None),
    ("run_ended", "training", "info", "Run {status} ({reason}, step {last_step:,})"),
    ("run_stalled", "training", "error",
     "No step for {silent_s:,.0f} s ({median_step_s:.1f} s is usual, step {last_step:,})"),
    ("run_resumed_progress", "training", "success", "Steps again (none for {silent_s:,.0f} s)"),
    ("loss_not_finite", "training", "error", "{field} is {value} (step {step:,})"),
    ("loss_spiked", "training", "warning",
     "{field} rose to {value:.4g} ({median:.4g} is usual, step {step:,})"),

    ("checkpoint_saved", "checkpoint", "success", "Checkpoint {step:,} saved (loss: {loss:.4f})"),
    ("checkpoint_promoted", "checkpoint", "success",
     "Checkpoint {step:,} promoted (accuracy: {accuracy:.1%})"),
    ("checkpoint_deleted", "checkpoint", "info", "Checkpoint {step:,} deleted ({reason})"),
    ("checkpoint_archived", "checkpoint", "info", "Checkpoint {step:,} archived (to {path})"),
    ("ledger_updated", "checkpoint", "info", "Checkpoint ledger updated ({entries:,} entries)"),

    ("eval_started", "eval", "info", "Eval started ({skill} level {level})"),
    ("eval_completed", "eval", "success",
     "Eval completed ({skill} level {level}, {accuracy:.1%}, {delta:+.1%})"),
    ("eval_regression", "eval", "warning",
     "{skill} level {level} fell to {accuracy:.1%} ({delta:+.1%})"),
    ("eval_failed", "eval", "error", "Eval failed: {error} ({skill} level {level})"),
    ("eval_cancelled", "eval", "warning", "Eval cancelled ({skill} level {level}, {reason})"),
    ("eval_suite_triggered", "eval", "info",
     "Eval suite {suite} triggered (step {step:,}, {evals:,} evals)"),
    ("evaluation_started", "eval", "info", "Evaluation started (step {step:,})"),
    ("evaluation_finished", "eval", "success", None),

    ("dataset_generated", "data", "success", "Dataset {dataset} generated ({examples:,} examples)"),
    ("curriculum_updated", "data", "info", "Curriculum updated ({skill} level {level})"),
    ("forge_batch_ready", "data", "info",
     "Forge batch {batch_id} is ready ({examples:,} examples)"),

    ("server_started", "system", "success", "{service} started ({address})"),
    ("server_stopped", "system", "info", "{service} stopped ({reason})"),
    ("config_reloaded", "system", "info", "Configuration reloaded ({path})"),
    ("worker_joined", "system", "success", "Worker {worker_id} joined ({role}, {device})"),
    ("worker_left", "system", "warning", "Worker {worker_id} left ({reason})"),
    ("worker_heartbeat", "system", "info", "Worker {worker_id} is {status}"),
    ("worker_stale", "system", "warning",
     "Worker {worker_id} is stale (no heartbeat for {age_s:,.0f} s)"),
    ("uncaught_exception", "system", "error", "Uncaught {error} ({thread})"),
    ("fatal_signal", "system", "error", "Fatal signal {signal}"),
    ("signal_received", "system", "warning", "Signal {signal} received (from pid {sender_pid})"),
    ("warning_raised", "system", "warning", "Warning: {warning}"),
    ("error_occurred", "system", "error", "Error: {error}"),
    ("mode_changed", "system", "info", "Mode is {mode} (was {previous})"),
    ("section_updated", "system", "info", "Section {section} updated"),
    ("note", "system", "info", None),
    ("resource_sampled", "system", "info",
     "Memory {rss_bytes:,} bytes (processor {cpu_percent:.0f} %)"),
    ("memory_pressure", "system", "warning",
     "{share:.0%} of the {place}'s memory is used ({used_bytes:,} of {limit_bytes:,} bytes)"),
    ("disk_low", "system", "warning", "{path} has {free_bytes:,} bytes left"),
    ("events_dropped", "system", "warning", "{count:,} events were dropped ({reason})"),
    ("process_lost", "system", "error",
     "{service} was lost (pid {pid}, last kind {last_kind}, step {last_step:,})"),
    ("host_lost", "system", "error",
     "Host {host} is silent (for {silent_s:,.0f} s, last heard {last_heard})"),
    ("host_heard_again", "system", "info", "Host {host} is heard again (after {silent_s:,.0f} s)"),

    ("vault_sync", "vault", "info", "Vault synced ({files:,} files, {size_bytes:,} bytes)"),
    ("vault_archived", "vault", "success", "{path} archived in the vault ({size_bytes:,} bytes)"),
    ("vault_cleanup", "vault", "info",
     "Vault cleaned up ({files:,} files, {freed_bytes:,} bytes freed)"),
    ("retention_applied", "vault", "info",
     "Retention applied ({deleted:,} deleted, {freed_bytes:,} bytes freed)"),

    ("title_earned", "guild", "success", "Title earned: {title}"),
    ("skill_level_up", "guild", "success", "{skill} reached level {level}"),
    ("achievement", "guild", "success", "Achievement: {name}"),
    ("campaign_milestone", "guild", "success", "Campaign milestone: {milestone} (step {step:,})"),
    ("hero_updated", "guild", "info", "Hero updated ({change})"),
    ("lore_recorded", "guild", "info", "Lore recorded: {title}"),

    ("stack_captured", "debug", "info", "Stack captured ({method}, {threads} threads)"),
    ("assertion_failed", "debug", "error", "Assertion failed: {assertion} ({location})"),
)
# fmt: on

KIND_METADATA: Final[dict[str, tuple[str, str]]] = {
    kind: (channel, severity) for kind, channel, severity, _ in KINDS
}
"""Each built-in kind's channel and severity."""

ROUTINE_KINDS: Final = frozenset(
    {"training_step", "worker_heartbeat", "section_updated", "resource_sampled"}
)
"""The built-in kinds that repeat by the thousand: thinned first, left out of full text."""

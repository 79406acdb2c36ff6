"""Typed helpers, one per built-in kind.

`checkpoint_saved(step=..., loss=...)` is `emit("checkpoint_saved", step=..., loss=...)`. Every
helper also takes, by keyword, what `emit` takes: message, channel, severity, details, hero_id,
campaign_id, source, webhooks; any further field joins the details. An optional argument that is
None is left out of them.
"""

from os import PathLike
from typing import Any

from realm_telemetry.event import Event
from realm_telemetry.producer.emission import emit

Path = str | PathLike[str]
Error = str | BaseException
"""As text an error is its type and message: `ValueError: no such skill`."""


def _given(fields: dict[str, Any], /, **optional: Any) -> dict[str, Any]:
    """Add to a helper's own fields those optional arguments that were given."""
    for name, value in optional.items():
        if value is not None:
            fields[name] = value  # noqa: PERF403 - a dict of its own costs 150 ns
    return fields


def job_submitted(job_id: str, job_type: str, priority: int | None = None, **fields: Any) -> Event:
    """A job was put into the queue."""
    return emit(
        "job_submitted", job_id=job_id, job_type=job_type, **_given(fields, priority=priority)
    )


def job_claimed(job_id: str, worker_id: str, **fields: Any) -> Event:
    """A worker took a job from the queue."""
    return emit("job_claimed", job_id=job_id, worker_id=worker_id, **fields)


def job_started(job_id: str, job_type: str, worker_id: str, **fields: Any) -> Event:
    """A worker began a job."""
    return emit("job_started", job_id=job_id, job_type=job_type, worker_id=worker_id, **fields)


def job_completed(
    job_id: str,
    duration_s: float | None = None,
    job_type: str | None = None,
    worker_id: str | None = None,
    **fields: Any,
) -> Event:
    """A job ended well."""
    return emit(
        "job_completed",
        job_id=job_id,
        **_given(fields, duration_s=duration_s, job_type=job_type, worker_id=worker_id),
    )


def job_failed(
    job_id: str,
    error: Error,
    job_type: str | None = None,
    worker_id: str | None = None,
    duration_s: float | None = None,
    **fields: Any,
) -> Event:
    """A job ended with an error."""
    return emit(
        "job_failed",
        job_id=job_id,
        error=error,
        **_given(fields, job_type=job_type, worker_id=worker_id, duration_s=duration_s),
    )


def job_cancelled(job_id: str, reason: str | None = None, **fields: Any) -> Event:
    """A job was called off before its end."""
    return emit("job_cancelled", job_id=job_id, **_given(fields, reason=reason))


def job_retried(
    job_id: str, attempt: int | None = None, reason: str | None = None, **fields: Any
) -> Event:
    """A job went back to the queue; attempt: the number of the coming one, from 2."""
    return emit("job_retried", job_id=job_id, **_given(fields, attempt=attempt, reason=reason))


def queue_backlog(depth: int, oldest_age_s: float | None = None, **fields: Any) -> Event:
    """More jobs wait than should; depth: how many."""
    return emit("queue_backlog", depth=depth, **_given(fields, oldest_age_s=oldest_age_s))


def training_started(
    model: str | None = None,
    total_steps: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    **fields: Any,
) -> Event:
    """A training run began."""
    return emit(
        "training_started",
        **_given(
            fields,
            model=model,
            total_steps=total_steps,
            learning_rate=learning_rate,
            batch_size=batch_size,
        ),
    )


def training_step(
    step: int,
    loss: float,
    learning_rate: float | None = None,
    total_steps: int | None = None,
    tokens_per_second: float | None = None,
    **fields: Any,
) -> Event:
    """A training step was done; routine."""
    return emit(
        "training_step",
        step=step,
        loss=loss,
        **_given(
            fields,
            learning_rate=learning_rate,
            total_steps=total_steps,
            tokens_per_second=tokens_per_second,
        ),
    )


def training_completed(
    step: int | None = None,
    loss: float | None = None,
    duration_s: float | None = None,
    **fields: Any,
) -> Event:
    """A training run reached its end; step and loss: the last ones."""
    return emit("training_completed", **_given(fields, step=step, loss=loss, duration_s=duration_s))


def training_paused(step: int | None = None, reason: str | None = None, **fields: Any) -> Event:
    """A training run was halted and can go on."""
    return emit("training_paused", **_given(fields, step=step, reason=reason))


def training_resumed(step: int | None = None, path: Path | None = None, **fields: Any) -> Event:
    """A training run went on; path: the checkpoint it started from."""
    return emit("training_resumed", **_given(fields, step=step, path=path))


def training_failed(
    error: Error, step: int | None = None, duration_s: float | None = None, **fields: Any
) -> Event:
    """A training run ended with an error."""
    return emit("training_failed", error=error, **_given(fields, step=step, duration_s=duration_s))


def training_cancelled(step: int | None = None, reason: str | None = None, **fields: Any) -> Event:
    """A training run was called off before its end."""
    return emit("training_cancelled", **_given(fields, step=step, reason=reason))


def lr_changed(
    learning_rate: float, previous: float | None = None, step: int | None = None, **fields: Any
) -> Event:
    """The learning rate was changed."""
    return emit(
        "lr_changed", learning_rate=learning_rate, **_given(fields, previous=previous, step=step)
    )


def run_started(command: str | None = None, world_size: int | None = None, **fields: Any) -> Event:
    """A process began its part of a run; `configure` and the first training event emit it."""
    return emit("run_started", **_given(fields, command=command, world_size=world_size))


def run_config(**fields: Any) -> Event:
    """The settings of a run, by name: learning rate, batch size ..."""
    return emit("run_config", **fields)


def run_ended(
    status: str,
    reason: str | None = None,
    evidence: dict[str, Any] | None = None,
    exit_code: int | None = None,
    signal: str | None = None,
    duration_s: float | None = None,
    last_step: int | None = None,
    output_tail: str | None = None,
    **fields: Any,
) -> Event:
    """A process ended its part of a run; status: completed, failed, cancelled, killed ..."""
    return emit(
        "run_ended",
        status=status,
        **_given(
            fields,
            reason=reason,
            evidence=evidence,
            exit_code=exit_code,
            signal=signal,
            duration_s=duration_s,
            last_step=last_step,
            output_tail=output_tail,
        ),
    )


def run_stalled(
    silent_s: float,
    threshold_s: float | None = None,
    median_step_s: float | None = None,
    last_step: int | None = None,
    **fields: Any,
) -> Event:
    """A process of a run lives and has made no step for far longer than usual."""
    return emit(
        "run_stalled",
        silent_s=silent_s,
        **_given(fields, threshold_s=threshold_s, median_step_s=median_step_s, last_step=last_step),
    )


def run_resumed_progress(silent_s: float, **fields: Any) -> Event:
    """A run that had stalled makes steps again; silent_s: how long it made none."""
    return emit("run_resumed_progress", silent_s=silent_s, **fields)


def loss_not_finite(field: str, value: str, step: int | None = None, **fields: Any) -> Event:
    """A number of a run became NaN or infinite; field: which."""
    return emit("loss_not_finite", field=field, value=value, **_given(fields, step=step))


def loss_spiked(
    field: str, value: float, median: float | None = None, step: int | None = None, **fields: Any
) -> Event:
    """A loss rose far above what was usual; median: of the steps before."""
    return emit("loss_spiked", field=field, value=value, **_given(fields, median=median, step=step))


def checkpoint_saved(step: int, loss: float, path: Path | None = None, **fields: Any) -> Event:
    """A checkpoint was written."""
    return emit("checkpoint_saved", step=step, loss=loss, **_given(fields, path=path))


def checkpoint_promoted(
    step: int,
    accuracy: float | None = None,
    path: Path | None = None,
    previous_step: int | None = None,
    **fields: Any,
) -> Event:
    """A checkpoint became the one in use; accuracy: fraction of 1."""
    return emit(
        "checkpoint_promoted",
        step=step,
        **_given(fields, accuracy=accuracy, path=path, previous_step=previous_step),
    )


def checkpoint_deleted(
    step: int, reason: str | None = None, path: Path | None = None, **fields: Any
) -> Event:
    """A checkpoint was deleted."""
    return emit("checkpoint_deleted", step=step, **_given(fields, reason=reason, path=path))


def checkpoint_archived(step: int, path: Path | None = None, **fields: Any) -> Event:
    """A checkpoint was moved to long-term storage; path: where to."""
    return emit("checkpoint_archived", step=step, **_given(fields, path=path))


def ledger_updated(entries: int | None = None, path: Path | None = None, **fields: Any) -> Event:
    """The ledger of checkpoints was written; entries: how many it has."""
    return emit("ledger_updated", **_given(fields, entries=entries, path=path))


def eval_started(skill: str, level: int, **fields: Any) -> Event:
    """An evaluation began."""
    return emit("eval_started", skill=skill, level=level, **fields)


def eval_completed(
    skill: str,
    level: int,
    accuracy: float,
    delta: float | None = None,
    step: int | None = None,
    **fields: Any,
) -> Event:
    """An evaluation ended; accuracy, delta to the last one: fractions of 1."""
    return emit(
        "eval_completed",
        skill=skill,
        level=level,
        accuracy=accuracy,
        **_given(fields, delta=delta, step=step),
    )


def eval_regression(
    skill: str,
    level: int,
    accuracy: float,
    delta: float | None = None,
    step: int | None = None,
    **fields: Any,
) -> Event:
    """An evaluation was worse than the last one; accuracy, delta: fractions of 1."""
    return emit(
        "eval_regression",
        skill=skill,
        level=level,
        accuracy=accuracy,
        **_given(fields, delta=delta, step=step),
    )


def eval_failed(
    skill: str, level: int, error: Error, duration_s: float | None = None, **fields: Any
) -> Event:
    """An evaluation ended with an error."""
    return emit(
        "eval_failed",
        skill=skill,
        level=level,
        error=error,
        **_given(fields, duration_s=duration_s),
    )


def eval_cancelled(skill: str, level: int, reason: str | None = None, **fields: Any) -> Event:
    """An evaluation was called off before its end."""
    return emit("eval_cancelled", skill=skill, level=level, **_given(fields, reason=reason))


def eval_suite_triggered(
    suite: str, step: int | None = None, evals: int | None = None, **fields: Any
) -> Event:
    """A set of evaluations was asked for; evals: how many."""
    return emit("eval_suite_triggered", suite=suite, **_given(fields, step=step, evals=evals))


def evaluation_started(step: int | None = None, **fields: Any) -> Event:
    """The model is evaluated; step: of the training."""
    return emit("evaluation_started", **_given(fields, step=step))


def evaluation_finished(step: int | None = None, **fields: Any) -> Event:
    """The model was evaluated; further fields are the metrics, any numbers."""
    return emit("evaluation_finished", **_given(fields, step=step))


def dataset_generated(
    dataset: str, examples: int | None = None, path: Path | None = None, **fields: Any
) -> Event:
    """A dataset was made."""
    return emit(
        "dataset_generated", dataset=dataset, **_given(fields, examples=examples, path=path)
    )


def curriculum_updated(
    skill: str | None = None, level: int | None = None, reason: str | None = None, **fields: Any
) -> Event:
    """The curriculum was changed; skill and level: what is taught next."""
    return emit("curriculum_updated", **_given(fields, skill=skill, level=level, reason=reason))


def forge_batch_ready(
    batch_id: str, examples: int | None = None, path: Path | None = None, **fields: Any
) -> Event:
    """The forge has a batch of training data ready."""
    return emit(
        "forge_batch_ready", batch_id=batch_id, **_given(fields, examples=examples, path=path)
    )


def server_started(service: str, address: str | None = None, **fields: Any) -> Event:
    """A server answers now; address: host and port, or a URL."""
    return emit("server_started", service=service, **_given(fields, address=address))


def server_stopped(service: str, reason: str | None = None, **fields: Any) -> Event:
    """A server was shut down."""
    return emit("server_stopped", service=service, **_given(fields, reason=reason))


def config_reloaded(path: Path | None = None, **fields: Any) -> Event:
    """A configuration was read again."""
    return emit("config_reloaded", **_given(fields, path=path))


def worker_joined(
    worker_id: str, role: str | None = None, device: str | None = None, **fields: Any
) -> Event:
    """A worker is there."""
    return emit("worker_joined", worker_id=worker_id, **_given(fields, role=role, device=device))


def worker_left(worker_id: str, reason: str | None = None, **fields: Any) -> Event:
    """A worker is gone."""
    return emit("worker_left", worker_id=worker_id, **_given(fields, reason=reason))


def worker_heartbeat(
    worker_id: str,
    role: str,
    device: str,
    status: str,
    current_job: str | None = None,
    **fields: Any,
) -> Event:
    """A worker is alive; routine."""
    return emit(
        "worker_heartbeat",
        worker_id=worker_id,
        role=role,
        device=device,
        status=status,
        **_given(fields, current_job=current_job),
    )


def worker_stale(worker_id: str, age_s: float | None = None, **fields: Any) -> Event:
    """A worker's heartbeats have ceased; age_s: since the last one."""
    return emit("worker_stale", worker_id=worker_id, **_given(fields, age_s=age_s))


def uncaught_exception(
    error: Error,
    error_type: str | None = None,
    traceback: str | None = None,
    thread: str | None = None,
    **fields: Any,
) -> Event:
    """An exception ended the program or one of its threads."""
    return emit(
        "uncaught_exception",
        error=error,
        **_given(fields, error_type=error_type, traceback=traceback, thread=thread),
    )


def fatal_signal(signal: str, stack: str | None = None, **fields: Any) -> Event:
    """A signal ended the process; stack: what Python code ran then."""
    return emit("fatal_signal", signal=signal, **_given(fields, stack=stack))


def signal_received(signal: str, sender_pid: int | None = None, **fields: Any) -> Event:
    """A signal came that the process lives to tell of; sender_pid: who sent it."""
    return emit("signal_received", signal=signal, **_given(fields, sender_pid=sender_pid))


def warning_raised(warning: str, **fields: Any) -> Event:
    """Something is not as it should be."""
    return emit("warning_raised", warning=warning, **fields)


def error_occurred(error: Error, **fields: Any) -> Event:
    """Something went wrong that no other kind describes."""
    return emit("error_occurred", error=error, **fields)


def mode_changed(mode: str, previous: str | None = None, **fields: Any) -> Event:
    """The lab's mode was changed."""
    return emit("mode_changed", mode=mode, **_given(fields, previous=previous))


def section_updated(section: str, **fields: Any) -> Event:
    """A section of an older state store was written; routine."""
    return emit("section_updated", section=section, **fields)


def note(message: str, **fields: Any) -> Event:
    """Anything a person wants to write down."""
    return emit("note", message, **fields)


def resource_sampled(rss_bytes: int, cpu_percent: float | None = None, **fields: Any) -> Event:
    """What a run's processes and their machine used; routine. cpu_percent: 100 is one core."""
    return emit("resource_sampled", rss_bytes=rss_bytes, **_given(fields, cpu_percent=cpu_percent))


def memory_pressure(
    share: float,
    place: str,
    used_bytes: int | None = None,
    limit_bytes: int | None = None,
    **fields: Any,
) -> Event:
    """Memory is nearly used up; share: from 0 to 1; place: container or host."""
    return emit(
        "memory_pressure",
        share=share,
        place=place,
        **_given(fields, used_bytes=used_bytes, limit_bytes=limit_bytes),
    )


def disk_low(path: Path, free_bytes: int, **fields: Any) -> Event:
    """A disk that a run writes to is nearly full."""
    return emit("disk_low", path=path, free_bytes=free_bytes, **fields)


def events_dropped(count: int, reason: str | None = None, **fields: Any) -> Event:
    """Events were given up; the producer itself reports them."""
    return emit("events_dropped", count=count, **_given(fields, reason=reason))


def process_lost(
    service: str,
    pid: int | None = None,
    last_kind: str | None = None,
    last_step: int | None = None,
    **fields: Any,
) -> Event:
    """A producer ended without `shutdown`; the shipper reports it."""
    return emit(
        "process_lost",
        service=service,
        **_given(fields, pid=pid, last_kind=last_kind, last_step=last_step),
    )


def host_lost(
    host: str, silent_s: float | None = None, last_heard: str | None = None, **fields: Any
) -> Event:
    """A host with open runs sends no heartbeats any more; the service reports it."""
    return emit("host_lost", host=host, **_given(fields, silent_s=silent_s, last_heard=last_heard))


def host_heard_again(host: str, silent_s: float | None = None, **fields: Any) -> Event:
    """A host that was lost sends heartbeats again; silent_s: how long it did not."""
    return emit("host_heard_again", host=host, **_given(fields, silent_s=silent_s))


def vault_sync(
    files: int | None = None, size_bytes: int | None = None, path: Path | None = None, **fields: Any
) -> Event:
    """The vault was brought up to date."""
    return emit("vault_sync", **_given(fields, files=files, size_bytes=size_bytes, path=path))


def vault_archived(path: Path, size_bytes: int | None = None, **fields: Any) -> Event:
    """Something was archived in the vault."""
    return emit("vault_archived", path=path, **_given(fields, size_bytes=size_bytes))


def vault_cleanup(files: int | None = None, freed_bytes: int | None = None, **fields: Any) -> Event:
    """Files of the vault were deleted; files: how many."""
    return emit("vault_cleanup", **_given(fields, files=files, freed_bytes=freed_bytes))


def retention_applied(
    deleted: int | None = None, freed_bytes: int | None = None, **fields: Any
) -> Event:
    """Old rows or files were deleted by rule; deleted: how many."""
    return emit("retention_applied", **_given(fields, deleted=deleted, freed_bytes=freed_bytes))


def title_earned(title: str, **fields: Any) -> Event:
    """A hero earned a title."""
    return emit("title_earned", title=title, **fields)


def skill_level_up(skill: str, level: int, **fields: Any) -> Event:
    """A hero reached a level of a skill."""
    return emit("skill_level_up", skill=skill, level=level, **fields)


def achievement(name: str, description: str | None = None, **fields: Any) -> Event:
    """A hero achieved something."""
    return emit("achievement", name=name, **_given(fields, description=description))


def campaign_milestone(milestone: str, step: int | None = None, **fields: Any) -> Event:
    """A campaign reached a milestone."""
    return emit("campaign_milestone", milestone=milestone, **_given(fields, step=step))


def hero_updated(change: str | None = None, **fields: Any) -> Event:
    """Something about a hero was changed."""
    return emit("hero_updated", **_given(fields, change=change))


def lore_recorded(title: str, text: str | None = None, **fields: Any) -> Event:
    """A piece of lore was written down."""
    return emit("lore_recorded", title=title, **_given(fields, text=text))


def stack_captured(method: str, threads: int | None = None, **fields: Any) -> Event:
    """The stacks of a process's threads were taken; method: how; threads: how many."""
    return emit("stack_captured", method=method, **_given(fields, threads=threads))


def assertion_failed(assertion: str, location: str | None = None, **fields: Any) -> Event:
    """A check in the code did not hold; location: file and line."""
    return emit("assertion_failed", assertion=assertion, **_given(fields, location=location))

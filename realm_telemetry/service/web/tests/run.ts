import type { Run } from "../src/shared/run";

/** A run as the service answers it. */
export function makeRun(id: string, fields: Partial<Run> = {}): Run {
  return {
    run_id: id, status: "running", reason: null, health: null, first_failed_rank: null,
    started_at: "2026-01-01T00:00:00.000000Z", ended_at: null, last_event_at: "2026-01-01T00:01:00.000000Z",
    duration_s: 60, step: 10, total_steps: 100, progress: 0.1, loss: 0.5, best_loss: 0.4, peak_rss_bytes: null,
    steps_per_second: 1, attempts: 1, processes: 1, world_size: null, hosts: [], last_checkpoint: null,
    last_finite_checkpoint: null, command: null, cwd: null, git_commit: null, python: null, launcher: null,
    scheduler_job_id: null, exception: null, warnings: { not_finite: null, spikes: 0, stalls: 0 },
    counts: { events: 1, warnings: 0, errors: 0 }, ranks: {}, config: {}, evidence: null,
    ...fields,
  };
}

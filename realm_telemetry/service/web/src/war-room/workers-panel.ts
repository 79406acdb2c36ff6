import { html, nothing, type TemplateResult } from "lit";
import { formatAge, formatCount, formatDuration } from "../shared/format";
import { clockOffset, type Clocks } from "./worker-clocks";
import { workerStatus, type Receipt, type WorkerState } from "./state";

const MAX_TILES = 60;

export interface WorkersView {
  workers: readonly WorkerState[];
  receipts: readonly Receipt[];
  clocks: Clocks;
  /** When the ages were true; they go on from there. */
  answeredMs: number;
  nowMs: number;
}

export function workersPanel(view: WorkersView): TemplateResult {
  const { workers } = view;
  return html`<section class="card workers" aria-label="Workers">
    <h2>Workers</h2>
    ${workers.length ? nothing : html`<p class="soft">No worker has joined.</p>`}
    <ul class="tiles">${workers.slice(0, MAX_TILES).map((worker) => workerTile(worker, view))}</ul>
    ${workers.length > MAX_TILES ? html`<p class="soft">and ${formatCount(workers.length - MAX_TILES)} more</p>` : nothing}
  </section>`;
}

function workerTile(worker: WorkerState, view: WorkersView): TemplateResult {
  const age = worker.age_s === null ? null : worker.age_s + (view.nowMs - view.answeredMs) / 1_000;
  const status = workerStatus(worker, age);
  const facts = [worker.role, worker.device, worker.rank === null ? null : `rank ${worker.rank}`];
  const offset = clockOffset(worker, view);
  return html`<li class="tile worker ${status}" data-worker=${worker.worker_id}>
    <b>${worker.worker_id}</b>
    <span class="pill status-${status}">${status}</span>
    <span class="soft">${facts.filter(Boolean).join(" · ") || worker.host || ""}</span>
    <span class="soft">${age === null ? "no heartbeat" : `heartbeat ${formatAge(age)}`}</span>
    ${worker.current_job ? html`<span class="clamped">▸ ${worker.current_job}</span>` : nothing}
    ${offset === 0 ? nothing : html`<span class="ink-warning">clock ${formatDuration(Math.abs(offset))} ${offset > 0 ? "behind" : "ahead"}</span>`}
  </li>`;
}

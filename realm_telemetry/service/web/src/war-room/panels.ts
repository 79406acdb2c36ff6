import { html, nothing, type TemplateResult } from "lit";
import { apiUrl } from "../shared/api";
import { SEVERITIES, severityMark } from "../shared/catalog";
import { formatAge, formatCount, formatDuration, formatNumber } from "../shared/format";
import { sparkline } from "../shared/sparkline";
import type { RealmEvent } from "../stream/types";
import type { AwayItem } from "./away";
import type { RunCourse } from "./runs";
import {
  etaSeconds,
  sumReceipts,
  toPercent,
  workerStatus,
  type JobState,
  type RealmState,
  type Receipt,
  type RunState,
  type WorkerState,
} from "./state";

const LANES = ["waiting", "claimed", "running", "completed", "failed"] as const;
const LANE_ROWS = 5;

/** One run: how far it is, how fast, how long still. */
export function progressPanel(run: RunState, course: RunCourse | undefined, nowMs: number): TemplateResult {
  const eta = etaSeconds(run, nowMs);
  const last = course?.points.at(-1);
  const share = run.progress ?? 0;
  const figures: [string, string][] = [
    ["loss", typeof run.loss === "number" ? formatNumber(run.loss) : String(run.loss ?? "–")],
    ["best", run.best_loss === null ? "–" : formatNumber(run.best_loss)],
    ["learning rate", run.learning_rate === null ? "–" : formatNumber(run.learning_rate)],
    ["speed", last?.speed ? `${formatNumber(last.speed)}/s` : "–"],
    ["events", `${(course?.perSecond(nowMs) ?? 0).toFixed(1)}/s`],
    ["left", eta === null ? "–" : formatDuration(eta)],
  ];
  return html`<section class="card progress" aria-label="Progress">
    <div class="card-head">
      <h2 class="run-name">${run.run_id ?? "Training"}</h2>
      ${course ? sparkline(course.rate) : nothing}
      <span class="pill status-${run.status}">${run.status}</span>
    </div>
    <div class="bar" role="progressbar" aria-label="Training progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(share * 100)}>
      <div .style=${`width: ${share * 100}%`}></div>
    </div>
    <p class="soft">
      step ${formatCount(run.step ?? 0)}${run.total_steps ? ` of ${formatCount(run.total_steps)} · ${toPercent(share)}` : ""}${run.model ? ` · ${run.model}` : ""}
    </p>
    ${run.error ? html`<p class="ink-error">${String(run.error)}</p>` : nothing}
    <dl class="figures">
      ${figures.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
  </section>`;
}

export function jobsPanel(state: RealmState): TemplateResult {
  const jobs = Object.values(state.jobs.jobs);
  return html`<section class="card jobs" aria-label="Jobs">
    <h2>Jobs</h2>
    <div class="lanes">
      ${LANES.map((lane) => {
        const here = jobs.filter((job) => job.status === lane || (lane === "failed" && job.status === "lost"));
        return html`<div class="lane">
          <h3>${lane} <b>${formatCount(here.length)}</b></h3>
          <ul>${here.slice(0, LANE_ROWS).map(jobRow)}</ul>
          ${here.length > LANE_ROWS ? html`<p class="soft">+${formatCount(here.length - LANE_ROWS)} more</p>` : nothing}
        </div>`;
      })}
    </div>
  </section>`;
}

function jobRow(job: JobState): TemplateResult {
  const href = apiUrl("battle-log", { has: `job_id:${job.job_id}`, range: "all" });
  const facts = [job.job_type, job.worker_id, job.duration_s === null ? null : formatDuration(job.duration_s)];
  return html`<li class="job ${job.status}" title=${job.error ?? ""}>
    <a href=${href}>${job.job_id}</a>
    <span class="soft">${facts.filter(Boolean).join(" · ")}</span>
  </li>`;
}

export function workersPanel(
  workers: readonly WorkerState[],
  receipts: readonly Receipt[],
  answeredMs: number,
  nowMs: number,
): TemplateResult {
  const offsets = new Map(receipts.map((one) => [one.producer, one.clock_offset_ns ?? 0]));
  return html`<section class="card workers" aria-label="Workers">
    <h2>Workers</h2>
    ${workers.length ? nothing : html`<p class="soft">No worker has joined.</p>`}
    <ul class="tiles">
      ${workers.map((worker) => {
        const age = worker.age_s === null ? null : worker.age_s + (nowMs - answeredMs) / 1_000;
        const status = workerStatus(worker, age);
        const offset = offsets.get(worker.producer ?? "") ?? 0;
        const facts = [worker.role, worker.device, worker.rank === null ? null : `rank ${worker.rank}`];
        return html`<li class="tile worker ${status}" data-worker=${worker.worker_id}>
          <b>${worker.worker_id}</b>
          <span class="pill status-${status}">${status}</span>
          <span class="soft">${facts.filter(Boolean).join(" · ") || worker.host || ""}</span>
          <span class="soft">${age === null ? "no heartbeat" : `heard ${formatAge(age)}`}</span>
          ${worker.current_job ? html`<span>▸ ${worker.current_job}</span>` : nothing}
          ${Math.abs(offset) > 5e7 ? html`<span class="ink-warning">clock ${formatNumber(offset / 1e9)} s off</span>` : nothing}
        </li>`;
      })}
    </ul>
  </section>`;
}

export function evalsPanel(state: RealmState): TemplateResult {
  const evals = Object.values(state.eval.latest).slice(0, 12);
  return html`<section class="card evals" aria-label="Latest evals">
    <h2>Latest evals</h2>
    ${evals.length ? nothing : html`<p class="soft">No skill has been measured.</p>`}
    <table>
      <tbody>
        ${evals.map((one) => {
          const delta = one.delta ?? 0;
          const trend = delta > 0 ? "success" : delta < 0 ? "warning" : "info";
          return html`<tr>
            <th scope="row">${one.skill ?? "?"} <span class="soft">${one.level ?? ""}</span></th>
            <td>${one.accuracy === null ? "–" : toPercent(one.accuracy)}</td>
            <td class="ink-${trend}">${one.delta === null ? "" : `${delta > 0 ? "▲ +" : delta < 0 ? "▼ −" : "= "}${toPercent(Math.abs(delta))}`}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </section>`;
}

export function championPanel(state: RealmState): TemplateResult {
  const champion = state.checkpoints.champion;
  const best = state.checkpoints.best;
  return html`<section class="card champion" aria-label="Champion checkpoint">
    <h2>Champion</h2>
    ${champion
      ? html`<p class="big">👑 ${champion.step === null ? (champion.path ?? "?") : formatCount(champion.step)}</p>
          <p>${champion.accuracy === null ? "" : toPercent(champion.accuracy)}${champion.loss === null ? "" : ` · loss ${formatNumber(champion.loss)}`}</p>
          <p class="soft path">${champion.path ?? ""}</p>`
      : html`<p class="soft">No checkpoint has been promoted.</p>`}
    ${best?.loss != null ? html`<p class="soft">least loss: ${formatNumber(best.loss)} at ${formatCount(best.step ?? 0)}</p>` : nothing}
  </section>`;
}

export function guildRibbon(state: RealmState): TemplateResult | typeof nothing {
  const titles = state.guild.titles.slice(0, 6);
  if (!titles.length) return nothing;
  return html`<p class="ribbon guild" aria-label="Titles of the guild">
    🏰 ${titles.map((one) => html`<span><b>${one.title}</b> ${one.hero_id ?? ""}</span>`)}
  </p>`;
}

export function severityPanel(state: RealmState): TemplateResult {
  const counts = state.system.counts.by_severity;
  return html`<section class="severities" aria-label="Events by severity">
    ${SEVERITIES.map(
      (look) => html`<a class="severity-count" href=${apiUrl("battle-log", { severity: look.name })}>
        ${severityMark(look.name)} <b>${formatCount(counts[look.name] ?? 0)}</b>
      </a>`,
    )}
  </section>`;
}

export function receiptsLine(receipts: readonly Receipt[]): TemplateResult {
  const sum = sumReceipts(receipts);
  if (sum.dropped) {
    return html`<p class="receipts loud" data-testid="receipts" role="alert">
      ✕ ${formatCount(sum.dropped)} events were dropped. ${formatCount(sum.emitted)} emitted, ${formatCount(sum.stored)} stored.
    </p>`;
  }
  const word = sum.open ? (sum.complete ? "complete so far" : "arriving") : sum.complete ? "complete" : "not yet complete";
  const sign = sum.emitted === sum.stored ? "=" : "≠";
  return html`<p class="receipts soft" data-testid="receipts">
    ${formatCount(sum.emitted)} emitted ${sign} ${formatCount(sum.stored)} stored, ${word}
  </p>`;
}

export function lateRibbon(late: number): TemplateResult | typeof nothing {
  if (!late) return nothing;
  return html`<p class="ribbon">${formatCount(late)} events arrived late; they stand at their own time in the <a href=${apiUrl("battle-log", { range: "all" })}>Battle Log</a>.</p>`;
}

export function awayStrip(items: readonly AwayItem[], sinceText: string, dismiss: () => void): TemplateResult | typeof nothing {
  if (!items.length) return nothing;
  return html`<section class="away" aria-label="Since you were away">
    <b>Since you were away</b> <span class="soft">(${sinceText})</span>
    ${items.map((item) => html`<a class="ink-${item.severity}" href=${item.href}>${item.text}</a>`)}
    <button class="quiet" @click=${dismiss} aria-label="Dismiss">✕</button>
  </section>`;
}

export function pinnedNotes(notes: readonly RealmEvent[], href: (event: RealmEvent) => string): TemplateResult | typeof nothing {
  if (!notes.length) return nothing;
  return html`<p class="notes">📌 ${notes.slice(-3).map((note) => html`<a href=${href(note)}>${note.message.slice(0, 80)}</a>`)}</p>`;
}

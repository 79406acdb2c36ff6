import { html, nothing, type TemplateResult } from "lit";
import { formatAge, formatCount, formatDuration, formatNumber, formatTime } from "../shared/format";
import type { RunSeries } from "../shared/graph/run-series";
import { term } from "../shared/labels";
import { logHref, runHref } from "../shared/links";
import { statusMark } from "../shared/run";
import { sparkline } from "../shared/sparkline";
import { clockOffset, etaSeconds, type JobState, liveRun, type RealmState, type Receipt, type RunState, toPercent, type WorkerClocks, type WorkerState, workerStatus } from "./state";

/** What a job can be, and what that means. */
const LANES = {
  waiting: "It is in the queue.",
  claimed: "A worker has taken it, and has not begun.",
  running: "A worker is at it.",
  completed: "It is done.",
  failed: "It ended with an error, or its worker is gone.",
} as const;
/** What the states of a worker mean that do not say it themselves. */
const WORKER_STATES: Readonly<Record<string, string>> = {
  stale: "Nothing was heard of it for over a minute.",
  lost: "It is gone without having left.",
  left: "It has ended as planned.",
};
const LANE_ROWS = 4;
const MAX_TILES = 60;
const GUILD_ROWS = 12;
const FEW_WORKERS = 8;
const PROBLEMS: ReadonlySet<string> = new Set(["lost", "stale"]);

/** One run: progress, speed and time left. */
export function progressPanel(state: RunState, series: RunSeries | undefined, nowMs: number): TemplateResult {
  const last = series?.points.at(-1);
  const run = liveRun(state, last);
  const eta = etaSeconds(run, nowMs, series?.points);
  const share = run.progress ?? 0;
  const figures: [string, string][] = [
    ["loss", typeof run.loss === "number" ? formatNumber(run.loss) : String(run.loss ?? "–")],
    ["best loss", run.best_loss === null ? "–" : formatNumber(run.best_loss)],
    ["learning rate", run.learning_rate === null ? "–" : formatNumber(run.learning_rate)],
    ["speed", last?.speed ? `${formatNumber(last.speed)}/s` : "–"],
    ["events", `${(series?.rate.perSecond(nowMs) ?? 0).toFixed(1)}/s`],
    ["time left", eta === null ? "–" : formatDuration(eta)],
  ];
  return html`<section class="card progress" aria-label="Progress of ${run.run_id ?? "the run"}">
    <div class="card-head">
      <h2 class="run-name">${run.run_id ? html`<a href=${runHref(run.run_id)} dir="auto">${run.run_id}</a>` : "Training"}</h2>
      ${series ? html`<span class="rate" title="Events over the last minute">${sparkline(series.rate.buckets)}</span>` : nothing}
      ${statusMark(run.status)}
    </div>
    <progress aria-label="Training progress" max="1" value=${share}></progress>
    <p class="soft">
      step ${formatCount(run.step ?? 0)}${run.total_steps ? ` of ${formatCount(run.total_steps)} · ${toPercent(share)}` : ""}${eta ? ` · done at ${doneAt(nowMs, eta)}` : ""}${run.model ? ` · ${run.model}` : ""}
    </p>
    ${run.error ? html`<p class="ink-error clamped">${String(run.error)}</p>` : nothing}
    <dl class="figures">
      ${figures.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
  </section>`;
}

function doneAt(nowMs: number, etaS: number): string {
  const done = new Date(nowMs + etaS * 1_000);
  return formatTime(done, { zone: "local", date: etaS > 86_400 }).slice(0, -3);
}

/** Jobs by status; nothing where there are none, as for each of the following. */
export function jobsPanel(state: RealmState): TemplateResult | typeof nothing {
  const jobs = Object.values(state.jobs.jobs);
  if (!jobs.length) return nothing;
  return html`<section class="card jobs" aria-label="Jobs">
    <h2>${term("Jobs", "job")}</h2>
    <div class="lanes">
      ${Object.entries(LANES).map(([lane, meaning]) => {
        const here = jobs.filter((job) => job.status === lane || (lane === "failed" && job.status === "lost"));
        return html`<div class="lane ${here.length ? "" : "none"}">
          <h3 title=${meaning}>${lane} <b>${formatCount(here.length)}</b></h3>
          <ul>${here.slice(0, LANE_ROWS).map(jobRow)}</ul>
          ${here.length > LANE_ROWS ? html`<p class="soft">+${formatCount(here.length - LANE_ROWS)} more</p>` : nothing}
        </div>`;
      })}
    </div>
  </section>`;
}

function jobRow(job: JobState): TemplateResult {
  const href = logHref({ has: `job_id:${job.job_id}`, range: "all" });
  const facts = [job.job_type, job.worker_id, job.duration_s === null ? null : formatDuration(job.duration_s)];
  return html`<li class="job ${job.status}" title=${job.error ?? ""}>
    <a href=${href}>${job.job_id}</a>
    <span class="soft">${facts.filter(Boolean).join(" · ")}</span>
  </li>`;
}

interface WorkersView {
  workers: readonly WorkerState[];
  receipts: readonly Receipt[];
  clocks: WorkerClocks;
  /** When the ages were read; they grow from there. */
  answeredMs: number;
  nowMs: number;
}

export function workersPanel(view: WorkersView): TemplateResult | typeof nothing {
  if (!view.workers.length) return nothing;
  const workers = [...view.workers].sort((a, b) => a.worker_id.localeCompare(b.worker_id, undefined, { numeric: true }));
  const isBad = (worker: WorkerState) => PROBLEMS.has(statusOf(worker, view));
  // Of many workers only those with problems have a tile; the rest are names.
  const isMany = workers.length > FEW_WORKERS;
  const tiles = isMany ? workers.filter(isBad) : workers;
  const rest = isMany ? workers.filter((worker) => !isBad(worker)) : [];
  return html`<section class="card workers" aria-label="Workers">
    <div class="card-head"><h2>${term("Workers", "worker")}</h2>${workers.length > FEW_WORKERS ? html`<span class="soft">${formatCount(workers.length)}</span>` : nothing}</div>
    <ul class="tiles">${tiles.slice(0, MAX_TILES).map((worker) => workerTile(worker, view))}</ul>
    ${tiles.length > MAX_TILES ? html`<p class="soft">and ${formatCount(tiles.length - MAX_TILES)} more</p>` : nothing}
    ${rest.length ? html`<ul class="worker-grid" aria-label="Workers without problems">${rest.map((worker) => html`<li title=${factsOf(worker)}>${worker.worker_id}</li>`)}</ul>` : nothing}
  </section>`;
}

const statusOf = (worker: WorkerState, view: WorkersView) => workerStatus(worker, ageOf(worker, view));

function ageOf(worker: WorkerState, view: WorkersView): number | null {
  return worker.age_s === null ? null : worker.age_s + (view.nowMs - view.answeredMs) / 1_000;
}

function factsOf(worker: WorkerState): string {
  const facts = [worker.status, worker.role, worker.device, worker.current_job, worker.host];
  return facts.filter(Boolean).join(" · ");
}

function workerTile(worker: WorkerState, view: WorkersView): TemplateResult {
  const age = ageOf(worker, view);
  const status = statusOf(worker, view);
  const facts = [worker.role, worker.device, worker.rank === null ? null : `rank ${worker.rank}`];
  const offset = clockOffset(worker, view);
  return html`<li class="tile worker ${status}" data-worker=${worker.worker_id}>
    <b>${worker.worker_id}</b>
    <span class="pill status-${status}" title=${WORKER_STATES[status] ?? nothing}>${status}</span>
    <span class="soft">${facts.filter(Boolean).join(" · ") || worker.host || ""}</span>
    <span class="soft">${age === null ? "no heartbeat yet" : `heartbeat ${formatAge(age)}`}</span>
    ${worker.current_job ? html`<span class="clamped">▸ ${worker.current_job}</span>` : nothing}
    ${offset === 0 ? nothing : html`<span class="ink-warning" title="The clock of its machine differs from that of the service.">clock ${formatDuration(Math.abs(offset))} ${offset > 0 ? "behind" : "ahead"}</span>`}
  </li>`;
}

/** The latest eval of each skill, and the change since the one before. */
export function evalsPanel(state: RealmState): TemplateResult | typeof nothing {
  const evals = Object.values(state.eval.latest).slice(0, 12);
  if (!evals.length) return nothing;
  return html`<section class="card evals" aria-label="Latest evaluations">
    <h2>Latest evaluations</h2>
    <table>
      <tbody>
        ${evals.map((one) => {
          const delta = one.delta ?? 0;
          const trend = delta > 0 ? "success" : delta < 0 ? "warning" : "info";
          return html`<tr>
            <th scope="row">${one.skill ?? "?"} <span class="soft">${one.level === null ? "" : `level ${one.level}`}</span></th>
            <td>${one.accuracy === null ? "–" : toPercent(one.accuracy)}</td>
            <td class="ink-${trend}">${one.delta === null ? "" : `${delta > 0 ? "▲ +" : delta < 0 ? "▼ −" : "= "}${toPercent(Math.abs(delta))}`}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </section>`;
}

/** The checkpoint that was promoted last. */
export function championPanel(state: RealmState): TemplateResult | typeof nothing {
  const champion = state.checkpoints.champion;
  const best = state.checkpoints.best;
  if (!champion && best?.loss == null) return nothing;
  return html`<section class="card champion" aria-label="Champion checkpoint">
    <h2>${term("Champion")} checkpoint</h2>
    ${champion
      ? html`<p class="big">👑 ${champion.step === null ? (champion.path ?? "?") : `step ${formatCount(champion.step)}`}</p>
          <p>${champion.accuracy === null ? "" : toPercent(champion.accuracy)}${champion.loss === null ? "" : ` · loss ${formatNumber(champion.loss)}`}</p>
          <p class="soft path">${champion.path ?? ""}</p>`
      : html`<p class="soft">No checkpoint promoted yet.</p>`}
    ${best?.loss != null ? html`<p class="soft">Best loss: ${formatNumber(best.loss)} at step ${formatCount(best.step ?? 0)}</p>` : nothing}
  </section>`;
}

/** Heroes with their levels, titles and skills, and what campaigns have reached; nothing where no event is of the guild. */
export function guildPanel({ guild }: RealmState): TemplateResult | typeof nothing {
  const names = [...new Set([...Object.keys(guild.heroes), ...Object.keys(guild.skills), ...guild.titles.map((one) => one.hero_id ?? "")])];
  const milestones = guild.milestones.slice(0, GUILD_ROWS);
  if (!names.length && !milestones.length && !guild.achievements.length) return nothing;
  return html`<section class="card guild" aria-label="Guild" data-testid="guild">
    <h2>🏰 ${term("Guild")}</h2>
    <ul>${names.slice(0, GUILD_ROWS).map((name) => heroRow(name, guild))}</ul>
    ${milestones.map((one) => html`<p class="soft">${one.campaign_id ?? ""} reached <b>${one.milestone}</b>${one.step === null ? "" : ` at step ${formatCount(one.step)}`}</p>`)}
  </section>`;
}

function heroRow(name: string, { heroes, skills, titles, achievements }: RealmState["guild"]): TemplateResult {
  const hero = heroes[name];
  const earned = titles.filter((one) => (one.hero_id ?? "") === name).map((one) => one.title);
  const facts = [
    hero?.level == null ? null : `level ${hero.level}`,
    hero?.xp == null ? null : `${hero.xp} XP`,
    ...Object.entries(skills[name] ?? {}).map(([skill, { level }]) => `${skill} ${level ?? ""}`.trim()),
    ...achievements.filter((one) => (one.hero_id ?? "") === name).map((one) => one.name),
  ];
  return html`<li class="hero">
    <b dir="auto">${hero?.name ?? (name || "–")}</b> <span class="hero-titles">${(earned.length ? earned : [hero?.title]).filter(Boolean).join(", ")}</span>
    <span class="soft">${facts.filter(Boolean).join(" · ")}</span>
  </li>`;
}

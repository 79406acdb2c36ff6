import { html, nothing, type TemplateResult } from "lit";
import { exactText } from "../shared/exact-json";
import { bytesText, formatAge, formatCount, formatDuration, formatNumber, formatTime, shownText, zoneName } from "../shared/format";
import { term } from "../shared/labels";
import { type Checkpoint, commandText, type GoodCheckpoint, isOpen, isSilent, lookOf, notFiniteText, numberText, ranksText, reasonOf, type Run, statusMark, stepText } from "../shared/run";
import { snippet } from "../shared/snippet";

const SHOWN_HOSTS = 8;

/** What the glossary calls some of the facts. */
const WORDS: Readonly<Record<string, string>> = { Ranks: "rank", Attempts: "attempt", "Last good checkpoint": "checkpoint" };

type Fact = readonly [name: string, value: string | TemplateResult];

/** What a person asks first: how it is or how it ended, why, since when, and what is left of it. */
export function causeCard(run: Run, nowMs: number, tools: TemplateResult): TemplateResult {
  const look = lookOf(run.status);
  const reason = reasonOf(run);
  const notFinite = notFiniteText(run);
  const tone = notFinite && look.severity === "success" ? "warning" : look.severity;
  return html`<section class="card cause ${tone}" aria-label="How it is" data-testid="cause">
    <p class="cause-status">${statusMark(run.status)} <span class="soft">${sinceText(run, nowMs)}</span></p>
    ${notFinite ? html`<p class="cause-reason ink-error">${notFinite}</p>` : nothing}
    ${reason || !notFinite ? html`<p class="cause-reason" dir="auto">${reason ? shownText(reason) : look.meaning}</p>` : nothing}
    ${run.first_failed_rank === null || reason.startsWith(`rank ${run.first_failed_rank} `) ? nothing : html`<p>Rank ${run.first_failed_rank} failed first.</p>`}
    <h1 class="run-title" dir="auto" title=${run.run_id}>${run.run_id}</h1>
    ${run.status === "running" ? progress(run) : nothing}
    <dl class="figures">
      ${facts(run, nowMs).map(([name, value]) => html`<div><dt>${term(name, WORDS[name])}</dt><dd>${value}</dd></div>`)}
    </dl>
    <div class="cause-tools">${tools}</div>
    ${resumePart(run)} ${evidence(run.evidence)}
  </section>`;
}

/** Only a run that goes on has a time that moves. */
function sinceText(run: Run, nowMs: number): string {
  const since = (text: string | null) => (text === null ? null : Date.parse(text));
  const endedMs = since(run.ended_at);
  if (!isOpen(run.status)) {
    return endedMs === null ? "" : `ended ${timeText(endedMs)} (${formatAge((nowMs - endedMs) / 1_000)})`;
  }
  const heardMs = since(run.last_event_at);
  const heard = heardMs === null ? "" : ` · last event ${formatAge((nowMs - heardMs) / 1_000)}`;
  const startedMs = since(run.started_at);
  return `${startedMs === null ? "" : `started ${timeText(startedMs)}`}${heard}`;
}

function timeText(ms: number): string {
  return `${formatTime(new Date(ms), { zone: "local", date: true })} ${zoneName(ms)}`.trim();
}

function progress(run: Run): TemplateResult | typeof nothing {
  if (run.progress === null) return nothing;
  const percent = `${(100 * run.progress).toFixed(1)} %`;
  return html`<p class="run-progress">
    <progress aria-label="Training progress" max="1" value=${run.progress}></progress><span>${percent}</span>
  </p>`;
}

function facts(run: Run, nowMs: number): Fact[] {
  const found: Fact[] = [["Last step", stepText(run)]];
  const add = (name: string, value: string | TemplateResult | null | undefined) => {
    if (value) found.push([name, value]);
  };
  const isBad = typeof run.loss === "string";
  add("Last loss", isBad ? html`<span class="ink-error">${run.loss}</span>` : numberText(run.loss));
  if (run.best_loss !== null) add("Best loss", numberText(run.best_loss));
  if (run.status === "running") {
    add("Speed", run.steps_per_second ? `${formatNumber(run.steps_per_second)} steps/s` : null);
    add("Time left", timeLeft(run, nowMs));
  } else add("Duration", formatDuration(run.duration_s));
  const good = run.last_good_checkpoint;
  add("Last good checkpoint", checkpointText(good === undefined ? run.last_finite_checkpoint : good, good));
  add("Ranks", ranksText(run));
  if (run.attempts > 1) add("Attempts", formatCount(run.attempts));
  add("Most memory", run.peak_rss_bytes ? bytesText(run.peak_rss_bytes) : null);
  if (run.warnings.spikes) add("Spikes of the loss", formatCount(run.warnings.spikes));
  if (run.warnings.stalls) add("Stalls", formatCount(run.warnings.stalls));
  return found;
}

/** Nothing for a run that has been silent for longer than a few of its steps: it may not go on at all. */
function timeLeft(run: Run, nowMs: number): string | null {
  const { step, total_steps: total, steps_per_second: speed } = run;
  if (!speed || step === null || typeof total !== "number" || total <= step) return null;
  if (isSilent(run.last_event_at, 1 / speed, nowMs)) return null;
  return formatDuration((total - step) / speed);
}

function checkpointText(checkpoint: Checkpoint | null, good?: GoodCheckpoint | null): TemplateResult {
  if (!checkpoint) return html`none`;
  const step = checkpoint.step === null ? "saved" : `step ${formatCount(checkpoint.step)}`;
  return html`${step}${checkpoint.path ? html`<span class="path soft">${checkpoint.path}</span>` : nothing}
    ${good ? html`<span class="check ${checkTone(good)}">${good.verified ? "✓ " : ""}${good.check}</span>` : nothing}`;
}

/** Of a checkpoint that is gone a person has to know before the run is started again. */
function checkTone({ verified, check }: GoodCheckpoint): string {
  if (verified) return "ink-success";
  return check.startsWith("not there") ? "ink-error" : "soft";
}

/** How to go on with a run that ended. */
function resumePart({ resume }: Run): TemplateResult | typeof nothing {
  if (!resume || !(resume.command || resume.code)) return nothing;
  const line = resume.command && resume.cwd ? `cd ${quoted(resume.cwd)} && ${resume.command}` : resume.command;
  return html`<div class="resume" data-testid="resume">
    <h2>To go on with it</h2>
    ${line ? snippet(line) : nothing} ${resume.code ? snippet(resume.code, "Code") : nothing}
    <p class="soft">${resume.note}</p>
  </div>`;
}

/** A directory as a shell takes it. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

function evidence(found: unknown): TemplateResult | typeof nothing {
  if (typeof found !== "object" || found === null || !Object.keys(found).length) return nothing;
  return html`<details class="evidence">
    <summary>Evidence</summary>
    ${pairs(found as Record<string, unknown>)}
  </details>`;
}

/** Names and values, one below the other. */
export function pairs(values: Record<string, unknown>): TemplateResult {
  return html`<dl class="pairs">
    ${Object.entries(values).map(
      ([name, value]) => html`<div><dt class="mono">${name}</dt><dd class="mono" dir="auto">${valueText(value)}</dd></div>`,
    )}
  </dl>`;
}

function valueText(value: unknown): string {
  return typeof value === "string" ? value : exactText(value, 0);
}

/** Of many hosts the first few. */
function hostsText(hosts: readonly string[]): string {
  const names = [...hosts].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  const rest = names.length - SHOWN_HOSTS;
  return names.slice(0, SHOWN_HOSTS).join(", ") + (rest > 0 ? `, and ${formatCount(rest)} more` : "");
}

/** Where a run was started and how, with what it was set to. */
export function settingsPanel(run: Run): TemplateResult | typeof nothing {
  const origin = {
    command: commandText(run), directory: run.cwd, "git commit": run.git_commit, python: run.python,
    launcher: run.launcher === "none" ? null : run.launcher, "scheduler job": run.scheduler_job_id,
    hosts: hostsText(run.hosts),
  };
  const known = Object.fromEntries(Object.entries(origin).filter(([, value]) => value));
  if (!Object.keys(known).length && !Object.keys(run.config).length) return nothing;
  return html`<section class="card" aria-label="Configuration" data-testid="configuration">
    <h2>Configuration</h2>
    ${pairs(run.config)}
    ${Object.keys(known).length ? html`<h3>How it was started</h3>${pairs(known)}` : nothing}
  </section>`;
}

import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { formatCount, plural } from "../shared/format";
import { runHref } from "../shared/links";
import { shownText } from "../shared/message";
import { isOpen, lookOf, notFiniteText, numberText, ranksText, reasonOf, statusMark, stepText, type RunSummary } from "../shared/run";
import { sparkline } from "../shared/sparkline";
import type { Runs } from "./runs";

const SHOWN = 12;
const SPARK_POINTS = 200;
/** A run that ended badly stays in sight for so long. */
const RECENT_MS = 3_600_000;

/** Runs that go on and those that ended badly within an hour; problems first, then the newest. */
export function runsOfNow(runs: readonly RunSummary[], nowMs: number): RunSummary[] {
  const isRecent = (run: RunSummary) => lookOf(run.status).severity === "error" && nowMs - Date.parse(run.ended_at ?? "") < RECENT_MS;
  const startedMs = (run: RunSummary) => Date.parse(run.started_at ?? "") || 0;
  return runs
    .filter((run) => isOpen(run.status) || isRecent(run))
    .sort((a, b) => Number(isProblem(b)) - Number(isProblem(a)) || startedMs(b) - startedMs(a));
}

export function isProblem(run: RunSummary): boolean {
  return ["error", "warning"].includes(lookOf(run.status).severity) || run.warnings.not_finite !== null || lacksRanks(run);
}

/** Whether some of its ranks live no more while the others go on: "7 of 8 ranks". */
function lacksRanks({ status, health }: RunSummary): boolean {
  const [, live, all] = /^(\d+) of (\d+)/.exec(health?.replaceAll(",", "") ?? "") ?? [];
  return isOpen(status) && live !== all;
}

/** "1 stalled, 2 failed": what a tab says first; empty if all is well. */
export function problemsText(runs: readonly RunSummary[]): string {
  const counts = new Map<string, number>();
  for (const run of runs) {
    if (!isProblem(run)) continue;
    const word = lacksRanks(run) ? "without a rank" : run.status === "running" ? "with NaN" : lookOf(run.status).label.toLowerCase();
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].map(([word, count]) => `${formatCount(count)} ${word}`).join(", ");
}

/** Every run that goes on, one line each. */
export function openRunsPanel(runs: readonly RunSummary[], series: Runs): TemplateResult | typeof nothing {
  if (!runs.length) return nothing;
  const bad = runs.filter(isProblem).length;
  return html`<section class="card open-runs ${bad ? "troubled" : ""}" aria-label="Current runs" data-testid="open-runs">
    <div class="card-head"><h2>Current runs</h2><span class="soft">${plural(runs.length, "run")}${bad ? html`, <b class="ink-error">${formatCount(bad)} with a problem</b>` : nothing}</span></div>
    <ul>
      ${repeat(runs.slice(0, SHOWN), (run) => run.run_id, (run) => line(run, series))}
    </ul>
    ${runs.length > SHOWN ? html`<p class="soft">and ${formatCount(runs.length - SHOWN)} more, in Runs</p>` : nothing}
  </section>`;
}

function line(run: RunSummary, series: Runs): TemplateResult {
  const points = series.get(run.run_id)?.points ?? [];
  const losses = points.slice(-SPARK_POINTS).flatMap((point) => (point.loss === null ? [] : [point.loss]));
  const notFinite = notFiniteText(run);
  const reason = reasonOf(run);
  return html`<li class="open-run" data-open-run=${run.run_id} data-status=${run.status}>
    ${statusMark(run.status)}
    <a class="run-link" dir="auto" href=${runHref(run.run_id)}>${run.run_id}</a>
    <span class="soft open-run-step">step ${stepText(run)}</span>
    <span class="soft open-run-loss">loss ${numberText(run.loss)}</span>
    <span class="open-run-graph">${sparkline(losses, 72, 16)}</span>
    <span class="open-run-progress">${run.status === "running" && run.progress !== null ? html`<progress aria-label="Progress of ${run.run_id}" max="1" value=${run.progress}></progress>` : nothing}</span>
    <span class="soft open-run-place">${[ranksText(run), run.hosts[0]].filter(Boolean).join(" · ")}</span>
    ${reason || notFinite ? html`<p class="open-run-why" dir="auto">${notFinite ? html`<b class="ink-error">${notFinite}</b> ` : nothing}${shownText(reason)}</p>` : nothing}
  </li>`;
}

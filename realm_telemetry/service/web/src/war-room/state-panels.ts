import { html, nothing, type TemplateResult } from "lit";
import { formatCount, formatDuration, formatNumber, formatTime } from "../shared/format";
import { sparkline } from "../shared/sparkline";
import type { RunCourse } from "./run-series";
import { etaSeconds, liveRun, toPercent, type RunState } from "./state";

/** One run: how far it is, how fast, how long still. */
export function progressPanel(state: RunState, course: RunCourse | undefined, nowMs: number): TemplateResult {
  const last = course?.points.at(-1);
  const run = liveRun(state, last);
  const eta = etaSeconds(run, nowMs, course?.points);
  const share = run.progress ?? 0;
  const figures: [string, string][] = [
    ["loss", typeof run.loss === "number" ? formatNumber(run.loss) : String(run.loss ?? "–")],
    ["best", run.best_loss === null ? "–" : formatNumber(run.best_loss)],
    ["learning rate", run.learning_rate === null ? "–" : formatNumber(run.learning_rate)],
    ["speed", last?.speed ? `${formatNumber(last.speed)}/s` : "–"],
    ["events", `${(course?.rate.perSecond(nowMs) ?? 0).toFixed(1)}/s`],
    ["time left", eta === null ? "–" : formatDuration(eta)],
  ];
  return html`<section class="card progress" aria-label="Progress of ${run.run_id ?? "the run"}">
    <div class="card-head">
      <h2 class="run-name">${run.run_id ?? "Training"}</h2>
      ${course ? html`<span class="rate" title="Events over the last minute">${sparkline(course.rate.buckets)}</span>` : nothing}
      <span class="pill status-${run.status}">${run.status}</span>
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

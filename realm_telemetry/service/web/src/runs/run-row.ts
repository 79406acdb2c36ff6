import { html, nothing, type TemplateResult } from "lit";
import { formatCount, formatDuration, formatTime, shownText } from "../shared/format";
import { runHref } from "../shared/links";
import { notFiniteText, numberText, ranksText, reasonOf, type RunSummary, statusMark, stepText } from "../shared/run";
import { metricOf } from "./columns";
import { type Column, COLUMNS } from "./run-order";
/** Which runs are chosen to be compared. */
export interface Choosing {
  chosen: ReadonlySet<string>;
  /** No more can be chosen. */
  isFull: boolean;
  toggle: (id: string) => void;
}

/** What a column of text says of a run, and whether it is bad news. */
interface Said {
  text: string;
  isLoud?: boolean;
}

const TEXTS: Readonly<Partial<Record<Column, (run: RunSummary, nowMs: number) => Said>>> = {
  started: (run) => ({ text: startedText(run) }),
  duration: (run, nowMs) => ({ text: durationText(run, nowMs) }),
  step: (run) => ({ text: stepText(run) }),
  loss: (run) => numberSaid(run.loss),
  best: (run) => ({ text: numberText(run.best_loss) }),
  checkpoint: (run) => {
    const step = run.last_checkpoint?.step;
    return { text: typeof step === "number" ? `step ${formatCount(step)}` : "–" };
  },
  ranks: (run) => ({ text: ranksText(run).replace(/^(.* of .*) ranks$/, "$1") || "1" }),
  host: (run) => ({ text: hostText(run.hosts) }),
};

/** A run as a row, with a box to choose it; on a narrow screen the same cells are a card. */
export function runRow(run: RunSummary, nowMs: number, columns: readonly string[], { chosen, isFull, toggle }: Choosing): TemplateResult {
  const isChosen = chosen.has(run.run_id);
  return html`<tr role="row" class="run-row" data-run=${run.run_id} data-status=${run.status}>
    <td role="cell" class="run-status-cell"><label class="run-choice"><input type="checkbox" aria-label="Compare ${run.run_id}" .checked=${isChosen} ?disabled=${isFull && !isChosen} @change=${() => toggle(run.run_id)} /></label>${statusMark(run.status)}</td>
    <td role="cell" class="run-name-cell">
      <a class="run-link" dir="auto" href=${runHref(run.run_id)} title=${run.run_id}>${run.run_id}</a>
      ${why(run)}
    </td>
    ${columns.map((column) => (column === "tags" ? tagsCell(run) : cell(run, nowMs, column)))}
  </tr>`;
}

function cell(run: RunSummary, nowMs: number, column: string): TemplateResult | typeof nothing {
  const metric = metricOf(column);
  const said = metric === null ? TEXTS[column as Column]?.(run, nowMs) : numberSaid(run.metrics?.[metric]);
  if (!said) return nothing;
  const label = metric ?? COLUMNS[column as Column].label;
  return html`<td role="cell" class="run-${metric === null ? column : "metric"} ${said.text === "–" ? "none" : ""}" data-metric=${metric ?? nothing}
    ><span class="cell-label" aria-hidden="true">${label}</span><span class=${said.isLoud ? "ink-error" : nothing} dir="auto">${said.text}</span></td
  >`;
}

function tagsCell({ tags = [] }: RunSummary): TemplateResult {
  return html`<td role="cell" class="run-tags ${tags.length ? "" : "none"}"
    ><span class="cell-label" aria-hidden="true">Tags</span>${tags.length ? tags.map((tag) => html`<span class="tag" dir="auto">${shownText(tag)}</span> `) : "–"}</td
  >`;
}

/** NaN and infinities arrive as words. */
function numberSaid(value: unknown): Said {
  return { text: numberText(value), isLoud: typeof value === "string" };
}

/** Why it ended, and what was wrong with its numbers. */
function why(run: RunSummary): TemplateResult | typeof nothing {
  const reason = reasonOf(run);
  const notFinite = notFiniteText(run);
  if (!reason && !notFinite) return nothing;
  return html`<p class="run-reason" title=${reason} dir="auto">
    ${reason ? html`<span>${shownText(reason)}</span>` : nothing}
    ${notFinite ? html`<span class="ink-error">${notFinite}</span>` : nothing}
  </p>`;
}

export function startedText(run: RunSummary): string {
  if (run.started_at === null) return "–";
  return formatTime(new Date(run.started_at), { zone: "local", date: true }).slice(0, 16);
}

/** That of an open run goes on while nothing is heard of it. */
export function durationText(run: RunSummary, nowMs: number): string {
  const startedMs = Date.parse(run.started_at ?? "");
  if (run.status !== "running" || Number.isNaN(startedMs)) return formatDuration(run.duration_s);
  return formatDuration(Math.max(run.duration_s, (nowMs - startedMs) / 1_000));
}

function hostText(hosts: readonly string[]): string {
  if (!hosts.length) return "–";
  return hosts.length === 1 ? hosts[0]! : `${hosts[0]} +${hosts.length - 1}`;
}

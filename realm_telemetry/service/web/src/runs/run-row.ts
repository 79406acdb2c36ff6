import { html, nothing, type TemplateResult } from "lit";
import { formatCount, formatDuration, formatTime } from "../shared/format";
import { runHref } from "../shared/links";
import { shownText } from "../shared/message";
import { notFiniteText, numberText, ranksText, reasonOf, statusMark, stepText, type RunSummary } from "../shared/run";
import type { Column } from "./run-order";

export const TABLE_COLUMNS: readonly Column[] = [
  "status", "name", "started", "duration", "step", "loss", "best", "checkpoint", "ranks", "host",
];

/** Which runs are chosen to be compared. */
export interface Choosing {
  chosen: ReadonlySet<string>;
  /** No more can be chosen. */
  isFull: boolean;
  toggle: (id: string) => void;
}

/** A run as a row, with a box to choose it; on a narrow screen the same cells are a card. */
export function runRow(run: RunSummary, nowMs: number, { chosen, isFull, toggle }: Choosing): TemplateResult {
  const isChosen = chosen.has(run.run_id);
  const checkpoint = run.last_checkpoint?.step;
  return html`<tr role="row" class="run-row" data-run=${run.run_id} data-status=${run.status}>
    <td role="cell" class="run-status-cell"><label class="run-choice"><input type="checkbox" aria-label="Compare ${run.run_id}" .checked=${isChosen} ?disabled=${isFull && !isChosen} @change=${() => toggle(run.run_id)} /></label>${statusMark(run.status)}</td>
    <td role="cell" class="run-name-cell">
      <a class="run-link" dir="auto" href=${runHref(run.run_id)} title=${run.run_id}>${run.run_id}</a>
      ${why(run)}
    </td>
    ${cell("started", "Started", startedText(run))} ${cell("duration", "Duration", durationText(run, nowMs))}
    ${cell("step", "Step", stepText(run))} ${cell("loss", "Loss", numberText(run.loss), isBad(run.loss))}
    ${cell("best", "Best loss", numberText(run.best_loss))}
    ${cell("checkpoint", "Checkpoint", typeof checkpoint === "number" ? `step ${formatCount(checkpoint)}` : "–")}
    ${cell("ranks", "Ranks", ranksText(run).replace(/^(.* of .*) ranks$/, "$1") || "1")} ${cell("host", "Host", hostText(run.hosts))}
  </tr>`;
}

function cell(name: string, label: string, text: string, isLoud = false): TemplateResult {
  return html`<td role="cell" class="run-${name} ${text === "–" ? "none" : ""}"
    ><span class="cell-label" aria-hidden="true">${label}</span><span class=${isLoud ? "ink-error" : nothing} dir="auto">${text}</span></td
  >`;
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

function isBad(loss: unknown): boolean {
  return typeof loss === "string";
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

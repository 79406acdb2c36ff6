import { html, nothing, type TemplateResult } from "lit";
import { apiUrl } from "./api";
import { formatTime, plural } from "./format";
import type { RunException } from "./run";
import { copy } from "./toast";
import { folded, partsOf, type Frame, type Shown } from "./traceback";

/** The exception that ended a run: its message first, the program's own frames open. */
export function tracebackCard(exception: RunException): TemplateResult {
  const trace = exception.traceback ?? "";
  return html`<section class="card traceback" aria-label="Exception" data-testid="traceback">
    <div class="card-head">
      <h2>Exception</h2>
      <span class="soft">${originOf(exception)}</span>
      ${seenPart(exception)}
      <span class="controls">
        <button @click=${() => copy(trace || titleOf(exception), "Traceback")}>Copy</button>
      </span>
    </div>
    <p class="exception-title" dir="auto">${titleOf(exception)}</p>
    ${trace ? html`<div class="frames">${folded(partsOf(trace)).map(shown)}</div>` : nothing}
  </section>`;
}

/** How often it was seen lately, with a link to the others. */
function seenPart({ seen }: RunException): TemplateResult | typeof nothing {
  if (!seen || seen.times < 2) return nothing;
  const span = seen.days === 7 ? "this week" : `in ${plural(seen.days, "day")}`;
  const runs = seen.runs > 1 ? `, in ${plural(seen.runs, "run")}` : "";
  return html`<a data-testid="seen" href=${apiUrl("battle-log", new URLSearchParams(seen.query))}>seen ${seen.at_least ? "at least " : ""}${plural(seen.times, "time")} ${span}${runs}</a>`;
}

/** The message with its type in front, once. */
export function titleOf({ error, error_type }: RunException): string {
  if (!error) return error_type ?? "An exception";
  return error_type && !error.includes(error_type) ? `${error_type}: ${error}` : error;
}

function originOf({ rank, thread, at }: RunException): string {
  const time = at && formatTime(new Date(at), { zone: "local", date: true });
  const where = thread && thread !== "MainThread" ? `thread ${thread}` : null;
  return [rank === null ? null : `rank ${rank}`, where, time].filter(Boolean).join(" · ");
}

function shown(part: Shown): TemplateResult {
  if (part.type === "fold") {
    return html`<details class="fold">
      <summary>${plural(part.frames.length, "library frame")}</summary>
      ${part.frames.map(frame)}
    </details>`;
  }
  return part.type === "frame" ? frame(part) : html`<pre class="trace-text">${part.lines.join("\n")}</pre>`;
}

function frame(part: Frame): TemplateResult {
  return html`<pre class="frame ${part.own ? "own" : "soft"}">${part.lines.join("\n")}</pre>`;
}

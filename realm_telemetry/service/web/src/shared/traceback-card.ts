import { html, nothing, type TemplateResult } from "lit";
import { apiUrl } from "./api";
import { formatTime, plural } from "./format";
import type { RunException } from "./run";
import { copy } from "./toast";

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

/** A frame of a traceback: where, and the lines that show its code. */
export interface Frame {
  type: "frame";
  file: string;
  line: number;
  name: string;
  /** Its lines as they were printed. */
  lines: string[];
  /** Whether it is of the program itself, and not of a library or of Python. */
  own: boolean;
}

/** Anything else: headings, the exception's own line, what connects two tracebacks. */
export interface Text {
  type: "text";
  lines: string[];
}

export type Part = Frame | Text;

const FRAME = /^\s*(?:\| +)*File "(.*)", line (\d+)(?:, in (.*))?$/;
const INDENTED = /^(?:\s{4,}|\s*\|\s{4,})/;
const LIBRARY = /[\\/](?:site|dist)-packages[\\/]|^<frozen |[\\/]lib(?:64)?[\\/]python3?[\d.]*[\\/]|[\\/]Lib[\\/](?!.*[\\/])/;

/** The parts of a Python traceback in order; no line of it is left out. */
export function partsOf(traceback: string): Part[] {
  const parts: Part[] = [];
  for (const line of traceback.replace(/\n$/, "").split("\n")) {
    const found = FRAME.exec(line);
    const last = parts.at(-1);
    if (found) parts.push(frameOf(line, found));
    else if (last?.type === "frame" && INDENTED.test(line)) last.lines.push(line);
    else if (last?.type === "text") last.lines.push(line);
    else parts.push({ type: "text", lines: [line] });
  }
  return parts;
}

function frameOf(text: string, found: RegExpExecArray): Frame {
  const file = found[1]!;
  return { type: "frame", file, line: Number(found[2]), name: found[3] ?? "", lines: [text], own: !LIBRARY.test(file) };
}

/** Neighbouring frames of libraries are one fold. */
export type Shown = Text | Frame | { type: "fold"; frames: Frame[] };

export function folded(parts: readonly Part[]): Shown[] {
  const shown: Shown[] = [];
  // Where the program has no frame of its own, there is nothing to fold the others behind.
  const all = !parts.some((part) => part.type === "frame" && part.own);
  for (const part of parts) {
    const last = shown.at(-1);
    if (part.type === "text" || part.own || all) shown.push(part);
    else if (last?.type === "fold") last.frames.push(part);
    else shown.push({ type: "fold", frames: [part] });
  }
  return shown;
}

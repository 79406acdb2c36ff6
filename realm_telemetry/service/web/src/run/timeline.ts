import { html, nothing, type TemplateResult } from "lit";
import { formatDuration, formatTime, shownText, timeMs } from "../shared/format";
import { eventHref } from "../shared/links";
import { isOpen, lookOf, type Run } from "../shared/run";
import type { RealmEvent, Severity } from "../stream/event";
/** Which kinds begin and end a bar of a lane; without ends each event is a mark. */
const LANES: readonly { label: string; begins: readonly string[]; ends: readonly string[] }[] = [
  { label: "Training", begins: ["run_started"], ends: ["run_ended"] },
  { label: "Stalls", begins: ["run_stalled"], ends: ["run_resumed_progress", "run_ended"] },
  { label: "Pauses", begins: ["training_paused"], ends: ["training_resumed", "run_ended"] },
  { label: "Evaluations", begins: ["evaluation_started", "eval_started"], ends: ["evaluation_finished", "eval_completed", "eval_failed", "eval_cancelled"] },
  { label: "Checkpoints", begins: ["checkpoint_saved"], ends: [] },
];

/** The kinds that a timeline is made of. */
export const LIFECYCLE_KINDS = [...new Set(LANES.flatMap(({ begins, ends }) => [...begins, ...ends]))];

export interface Bar {
  fromMs: number;
  /** As long as nothing has ended it, now. */
  untilMs: number;
  severity: Severity;
  text: string;
  event: RealmEvent;
}

export interface Lane {
  label: string;
  bars: Bar[];
}

/** What a run did and when. events: of LIFECYCLE_KINDS, in any order, of one rank. endMs: what is open lasts until then. */
export function lanesOf(events: readonly RealmEvent[], endMs: number): Lane[] {
  const sorted = [...events].sort((a, b) => timeMs(a) - timeMs(b));
  return LANES.map(({ label, begins, ends }) => ({ label, bars: barsOf(sorted, begins, ends, endMs) })).filter(({ bars }) => bars.length);
}

function barsOf(events: readonly RealmEvent[], begins: readonly string[], ends: readonly string[], endMs: number): Bar[] {
  const bars: Bar[] = [];
  let open: Bar | null = null;
  for (const event of events) {
    const atMs = timeMs(event);
    if (begins.includes(event.kind)) {
      if (open) open.untilMs = atMs;
      // A stall began when the last step came, and was seen later.
      const silentMs = event.kind === "run_stalled" ? Number(event.details["silent_s"] ?? 0) * 1_000 || 0 : 0;
      const bar = { fromMs: atMs - silentMs, untilMs: ends.length ? endMs : atMs, severity: event.severity, text: event.message, event };
      bars.push(bar);
      open = ends.length ? bar : null;
    } else if (ends.includes(event.kind) && open) {
      open.untilMs = atMs;
      // How it ended says more than that it began; a stall stays one when steps come again.
      if (event.kind !== "run_resumed_progress" && !(event.kind === "run_ended" && !begins.includes("run_started"))) {
        Object.assign(open, { severity: toneOf(event), text: event.message, event });
      }
      open = null;
    }
  }
  return bars;
}

function toneOf(event: RealmEvent): Severity {
  const status = event.details["status"];
  return event.kind === "run_ended" && typeof status === "string" ? lookOf(status).severity : event.severity;
}

/** Training, evaluations, checkpoints and stalls as bars over the time of a run. */
export function timelinePanel(run: Run, events: readonly RealmEvent[], nowMs: number): TemplateResult | typeof nothing {
  const endMs = isOpen(run.status) ? nowMs : Date.parse(run.ended_at ?? run.last_event_at ?? "") || nowMs;
  const lanes = lanesOf(events, endMs);
  if (!lanes.length) return nothing;
  const bars = lanes.flatMap((lane) => lane.bars);
  const fromMs = Math.min(...bars.map((bar) => bar.fromMs));
  const spanMs = Math.max(...bars.map((bar) => bar.untilMs), endMs) - fromMs || 1;
  const share = (ms: number) => `${((100 * ms) / spanMs).toFixed(2)}%`;
  return html`<section class="card" aria-label="Timeline" data-testid="timeline">
    <div class="card-head"><h2>Timeline</h2><span class="soft">${formatTime(new Date(fromMs), { zone: "local", date: true })}, ${formatDuration(spanMs / 1_000)}</span></div>
    <dl class="lanes-of-time">
      ${lanes.map(
        ({ label, bars }) => html`<div>
          <dt>${label}</dt>
          <dd>${bars.map((bar) => {
            const text = `${shownText(bar.text).slice(0, 200)}, ${formatTime(new Date(bar.fromMs), { zone: "local" })}${bar.untilMs > bar.fromMs ? ` for ${formatDuration((bar.untilMs - bar.fromMs) / 1_000)}` : ""}`;
            return html`<a class="time-bar ${bar.severity} ${bar.untilMs === bar.fromMs ? "moment" : ""}" href=${eventHref(bar.event)} title=${text} aria-label=${text}
              .style=${`left: ${share(bar.fromMs - fromMs)}; width: ${share(bar.untilMs - bar.fromMs)}`}></a>`;
          })}</dd>
        </div>`,
      )}
    </dl>
  </section>`;
}

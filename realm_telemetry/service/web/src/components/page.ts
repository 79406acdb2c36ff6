import { html, LitElement, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { causeCard } from "../run/cause-card";
import { ranksPanel } from "../run/panels";
import { timelinePanel } from "../run/timeline";
import { SEVERITIES, severityMark } from "../shared/catalog";
import "../shared/graph/line-graph";
import { valueOf } from "../shared/graph/plot";
import { type Point, RunSeries } from "../shared/graph/run-series";
import { term } from "../shared/labels";
import "../shared/page-header";
import { type RankState, type Run, STATUSES, statusMark } from "../shared/run";
import { snippet } from "../shared/snippet";
import { sparkline } from "../shared/sparkline";
import { say } from "../shared/toast";
import { tracebackCard } from "../shared/traceback-card";
import type { RealmEvent } from "../stream/event";
import "./components.css";

/** Colours of docs/pages-components.md, in its order. */
const COLOURS = [
  "paper", "card", "raised", "hover", "selected", "line", "line-strong", "ink", "soft", "accent", "on-accent", "info", "success", "warning",
  "error", "error-wash", "warning-wash", "mark", "series-1", "series-2", "series-3", "series-4", "series-5", "series-6",
] as const;

/** What the pages are made of, one below the other: for contributors, `make pages-dev`. It is in no build. */
@customElement("realm-components")
export class RealmComponents extends LitElement {
  protected override createRenderRoot() {
    return this;
  }

  protected override render() {
    return html`<realm-header page="war-room"></realm-header>
      <main class="run-page">
        <h1>Components</h1>
        ${part("Colours", html`<ul class="swatches">${COLOURS.map((name) => html`<li><span class="swatch" .style=${`background: var(--${name})`}></span><code>--${name}</code></li>`)}</ul>`)}
        ${part("Severities", html`${SEVERITIES.map(({ name }) => html`<p>${severityMark(name)}</p>`)}`)}
        ${part("Statuses of a run", html`${Object.keys(STATUSES).map((status) => html`<p>${statusMark(status)} <span class="soft">${STATUSES[status]!.meaning}</span></p>`)}`)}
        ${part(
          "Buttons and fields",
          html`<p class="cause-tools">
            <button>Button</button> <button class="primary">Primary</button> <button class="quiet">Quiet</button> <button aria-pressed="true">Pressed</button>
            <button disabled>Disabled</button> <a class="button" href="components.html">Link</a> <input aria-label="Field" placeholder="Field" />
            <select aria-label="Choice"><option>Choice</option></select> <button @click=${() => say("Something was done")}>Toast</button>
          </p>`,
        )}
        ${part("Words and text", html`<p>A ${term("rank")} is explained. <span class="soft">Soft text.</span> <span class="mono">mono 0123</span> <kbd>j</kbd> <mark>found</mark></p>`)}
        ${part("Pills", html`<p>${["live", "connecting", "reconnecting", "paused", "stale"].map((word) => html`<span class="pill connection ${word}"><span class="dot" aria-hidden="true"></span>${word}</span> `)}</p>`)}
        ${part("Line to copy", snippet("realm run -- python train.py"))}
        ${part("Sparkline", html`${sparkline([3, 2, 1.4, 1.1, 1, 0.95, 0.9])}`)}
        ${part(
          "Graph",
          html`<realm-line-graph role="img" aria-label="Graph of a loss" whole .runs=${CURVES} .pick=${valueOf} .height=${180} .label=${"loss"}></realm-line-graph>`,
        )}
        <h2>Cause card</h2>
        ${causeCard(FAILED, NOW_MS, html`<button>Copy report</button>`)}
        <h2>Traceback card</h2>
        ${tracebackCard(FAILED.exception!)}
        <h2>Timeline</h2>
        ${timelinePanel(FAILED, EVENTS, NOW_MS)}
        <h2>Ranks</h2>
        ${ranksPanel(MANY_RANKS)}
      </main>`;
  }
}

function part(name: string, content: TemplateResult): TemplateResult {
  return html`<section class="card" aria-label=${name}><h2>${name}</h2>${content}</section>`;
}

/** What the page of components shows. */
export const NOW_MS = Date.parse("2026-11-28T12:00:00Z");

const at = (secondsAgo: number) => new Date(NOW_MS - secondsAgo * 1_000).toISOString();

const TRACEBACK = `Traceback (most recent call last):
  File "/home/ada/lab/train.py", line 61, in main
    trainer.fit(model, loader)
  File "/opt/venv/lib/python3.12/site-packages/lightning/trainer.py", line 540, in fit
    call._call_and_handle_interrupt(self, self._fit_impl)
  File "/home/ada/lab/data.py", line 31, in __getitem__
    return self.tokens[index]
IndexError: index 4096 is out of bounds for axis 0 with size 4096
`;

const rank = (number: number, status: string): RankState => ({
  producer: number.toString(16).padStart(16, "0"),
  status,
  reason: null,
  step: 600 - (number % 7 === 3 ? 12 : number % 3),
  host: `gpu-${number % 4}`,
  started_at: at(900),
  last_seen_at: at(300),
  ended_at: at(300),
});

/** A run that failed, with all that a run can have. */
export const FAILED: Run = {
  run_id: "gpt-small-lr6e-4",
  status: "failed",
  reason: "IndexError: index 4096 is out of bounds for axis 0 with size 4096",
  health: null,
  first_failed_rank: 1,
  started_at: at(900),
  ended_at: at(300),
  last_event_at: at(300),
  duration_s: 600,
  step: 600,
  total_steps: 1_000,
  progress: 0.6,
  loss: 2.616,
  best_loss: 2.468,
  peak_rss_bytes: 12 * 2 ** 30,
  steps_per_second: 1,
  attempts: 2,
  processes: 2,
  world_size: 2,
  hosts: ["gpu-0", "gpu-1"],
  last_checkpoint: null,
  last_finite_checkpoint: null,
  last_good_checkpoint: { step: 600, path: "/ckpt/600.pt", loss: 2.6, saved_at: at(310), size_bytes: 1_024, verified: true, check: "there with its recorded size" },
  resume: { command: "python train.py --lr 6e-4", cwd: "/home/ada/lab", framework: null, code: null, note: "The original command: whether it goes on from the checkpoint is up to the program." },
  command: "python train.py --lr 6e-4",
  cwd: "/home/ada/lab",
  git_commit: "4f2a91c",
  python: "3.12.4",
  launcher: "none",
  scheduler_job_id: null,
  exception: {
    error: "index 4096 is out of bounds for axis 0 with size 4096",
    error_type: "IndexError",
    thread: "MainThread",
    rank: 1,
    at: at(300),
    traceback: TRACEBACK,
    seen: { times: 4, runs: 2, days: 7, at_least: false, query: "kind=uncaught_exception" },
  },
  warnings: { not_finite: null, spikes: 1, stalls: 0 },
  counts: { events: 1_200, warnings: 1, errors: 2 },
  ranks: { 0: rank(0, "failed"), 1: rank(1, "failed") },
  config: { lr: 6e-4, batch_size: 64 },
  evidence: { exception: "IndexError" },
};

export const MANY_RANKS: Run = {
  ...FAILED,
  status: "running",
  health: "63 of 64 ranks",
  first_failed_rank: null,
  ranks: Object.fromEntries(Array.from({ length: 64 }, (_, number) => [number, rank(number, number === 20 ? "lost" : "running")])),
};

const point = (step: number, value: number): Point => ({ step, timeMs: NOW_MS + step * 1_000, loss: null, learningRate: null, speed: null, value });

/** Two lines, one of which is NaN for a while. */
export const CURVES = ["first", "second"].map((id, run) =>
  Object.assign(new RunSeries(id), {
    points: Array.from({ length: 100 }, (_, step) => point(step, run && step > 60 && step < 70 ? Number.NaN : 8 / (1 + step / (10 + 10 * run)))),
  }),
);

const event = (number: number, kind: string, secondsAgo: number, details: Record<string, unknown> = {}): RealmEvent => ({
  id: number.toString(16).padStart(32, "0"),
  cursor: number,
  kind,
  channel: "training",
  severity: kind === "run_ended" ? "error" : "info",
  message: kind,
  details,
  timestamp: at(secondsAgo),
  time_unix_nano: String(BigInt(NOW_MS - secondsAgo * 1_000) * 1_000_000n),
  observed_unix_nano: null,
  producer: "00000000000000aa",
  number,
  run_id: FAILED.run_id,
  rank: 0,
  hero_id: null,
  campaign_id: null,
  source: null,
  trace_id: null,
  span_id: null,
  trace_flags: 0,
  icon: "",
  late: false,
});

export const EVENTS: RealmEvent[] = [
  event(1, "run_started", 900),
  event(2, "checkpoint_saved", 700),
  event(3, "evaluation_started", 690),
  event(4, "evaluation_finished", 640),
  event(5, "run_stalled", 560, { silent_s: 40 }),
  event(6, "run_resumed_progress", 530),
  event(7, "run_ended", 300, { status: "failed" }),
];

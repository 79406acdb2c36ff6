import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { getEvents, getJson } from "../shared/api";
import { formatCount, plural, shownText } from "../shared/format";
import { RunSeries, SERIES_FIELDS, type SeriesAnswer } from "../shared/graph/run-series";
import { runHref } from "../shared/links";
import { isOpen, lookOf, notFiniteText, numberText, ranksText, reasonOf, type RunSummary, statusMark, stepText } from "../shared/run";
import { sparkline } from "../shared/sparkline";
import type { RealmEvent } from "../stream/event";
import type { RunState } from "./state";

const HISTORY_POINTS = "2000";
const KEPT_RUNS = 24;
const RETRY_MS = 5_000;
const PRODUCER_ID = /^[0-9a-f]{16}$/;
const LISTED_RUNS = 8;
const SHOWN_RUNS = 4;

/** The series of all runs that the page knows: history from the log, the rest from the stream. */
export class Runs {
  private readonly byId = new Map<string, RunSeries>();
  private readonly asked = new Set<string>();
  /** The colour number of each run; it stays the same while the page is open. */
  colours: ReadonlyMap<string, number> = new Map();

  constructor(
    private readonly changed: () => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  get(id: string): RunSeries | undefined {
    return this.byId.get(id);
  }

  /** Runs that the stream delivered before the state has them. */
  newerThan(known: ReadonlySet<string>, timeMs: number): string[] {
    const fresh = (series: RunSeries) => !(series.points.at(-1)!.timeMs <= timeMs);
    return [...this.byId.values()]
      .filter((series) => !known.has(series.id) && series.points.length && fresh(series))
      .map((series) => series.id);
  }

  /** The series of a run; its history is requested once. */
  show(id: string): RunSeries {
    const series = this.series(id);
    if (!this.asked.has(id)) void this.load(series);
    if (!this.colours.has(id)) this.colours = new Map([...this.colours, [id, this.colours.size]]);
    return series;
  }

  /** live: the event arrived now, not with the snapshot. */
  learn(event: RealmEvent, nowMs: number, live: boolean): void {
    const id = event.run_id ?? event.producer;
    const step = event.kind === "training_step";
    const series = step ? this.series(id) : this.byId.get(id);
    if (live) series?.rate.count(1 + (event.coalesced ?? 0), nowMs);
    if (step) series?.step(event);
    else if (isLooseNote(event)) this.newest?.mark(event);
    else series?.mark(event);
  }

  private get newest(): RunSeries | undefined {
    return [...this.byId.values()].at(-1);
  }

  private series(id: string): RunSeries {
    let series = this.byId.get(id);
    if (!series) {
      series = new RunSeries(id);
      this.byId.set(id, series);
      if (this.byId.size > KEPT_RUNS) this.forgetOldest();
    }
    return series;
  }

  private forgetOldest(): void {
    const oldest = this.byId.keys().next().value;
    if (oldest === undefined) return;
    this.byId.delete(oldest);
    this.asked.delete(oldest);
  }

  private async load(series: RunSeries): Promise<void> {
    this.asked.add(series.id);
    const own = { [PRODUCER_ID.test(series.id) ? "producer" : "run"]: series.id };
    const events = (params: Record<string, string>) => getEvents<RealmEvent[]>("api/battle_log", params);
    try {
      const query = { kind: "training_step", fields: SERIES_FIELDS, points: HISTORY_POINTS, ...own };
      series.load(await getJson<SeriesAnswer>("api/battle_log/series", query));
      this.changed();
      const found = await Promise.all([
        events({ ...own, kind: "checkpoint_saved,checkpoint_promoted,note", limit: "150" }),
        events({ ...own, severity: "warning,error", limit: "100" }),
        this.notesDuring(series),
      ]);
      for (const event of found.flat()) series.mark(event);
      this.changed();
    } catch (error) {
      setTimeout(() => this.asked.delete(series.id), RETRY_MS);
      this.failed(error);
    }
  }

  /** Notes without a run belong to the run that was active at their time. */
  private async notesDuring(series: RunSeries): Promise<RealmEvent[]> {
    const first = series.points[0];
    const last = series.points.at(-1);
    if (!first || !last) return [];
    const at = (ms: number) => new Date(ms).toISOString();
    const span = { since: at(first.timeMs), until: at(last.timeMs + 60_000) };
    const notes = await getEvents<RealmEvent[]>("api/battle_log", { kind: "note", limit: "50", ...span });
    return notes.filter(isLooseNote);
  }
}

/** A person's note that names no run; that of a check of the service is on nobody's curve. */
function isLooseNote(event: RealmEvent): boolean {
  return event.kind === "note" && event.run_id === null && event.source !== "realm.doctor";
}

/** A run in the legend: shown on the graph or not. */
export interface LegendRun {
  id: string;
  shown: boolean;
}

/** Which runs are on the graph: the newest and all active ones, unless the user selected others. */
export class RunChoice {
  private readonly chosen = new Map<string, boolean>();

  constructor(private readonly runs: Runs) {}

  /** runs: of the state, newest first; runs that only the stream knows come before them. */
  legend(runs: readonly RunState[]): LegendRun[] {
    const known = new Set(runs.map((run) => run.run_id));
    const unknown = this.runs.newerThan(known, Date.parse(runs[0]?.step_at ?? ""));
    const usual = new Set([...currentRuns(runs).map((run) => run.run_id), ...unknown]);
    return [...unknown, ...known]
      .slice(0, LISTED_RUNS)
      .map((id) => ({ id, shown: this.chosen.get(id) ?? usual.has(id) }));
  }

  toggle(id: string, runs: readonly RunState[]): void {
    const run = this.legend(runs).find((one) => one.id === id);
    if (run) this.chosen.set(id, !run.shown);
  }
}

/** The newest run and all other active ones. */
export function currentRuns(runs: readonly RunState[]): RunState[] {
  return runs.filter((run, index) => index === 0 || isOpen(run.status)).slice(0, SHOWN_RUNS);
}

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

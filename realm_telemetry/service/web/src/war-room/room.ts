import { LitElement, html, nothing, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { ApiError, getJson } from "../shared/api";
import { formatAge, formatNumber } from "../shared/format";
import "../shared/page-header";
import { shortcuts } from "../shared/shortcuts";
import { eventStream } from "../stream/event-stream";
import type { RealmEvent, StreamMessage } from "../stream/types";
import { awayItems, lastSeen, lostItems, noteSeen, type AwayItem, type KindCount } from "./away";
import { showBadge } from "./badge";
import { Clocks } from "./clocks";
import { pillWord } from "./connection";
import { Courses } from "./courses";
import type { EventList } from "./event-list";
import "./event-list";
import { Feed } from "./feed";
import type { GraphPanel, LegendRun } from "./graph-panel";
import "./graph-panel";
import { logHref } from "./links";
import type { NoteDialog } from "./note-dialog";
import "./note-dialog";
import * as panels from "./panels";
import { Refresh } from "./refresh";
import { expectsNews, getReceipts, getState, liveRun, type Receipt, type RunState, type StateAnswer } from "./state";

const RENDER_MS = 250;
const TICK_MS = 1_000;
const BADGE_MS = 2_000;
const LISTED_RUNS = 8;
const SHOWN_RUNS = 4;

/** The page beside a running training. */
@customElement("realm-war-room")
export class WarRoom extends LitElement {
  @state() private answer: StateAnswer | null = null;
  @state() private receipts: Receipt[] = [];
  @state() private problem = "";
  @state() private paused = false;
  @state() private away: AwayItem[] = [];
  @query("realm-note-dialog") private noteDialog!: NoteDialog;
  @query("realm-event-list") private list!: EventList | null;
  @query("realm-graph-panel") private graphs!: GraphPanel | null;
  private readonly feed = new Feed();
  private readonly clocks = new Clocks();
  private readonly courses = new Courses(() => this.changed(), (error) => this.failed(error));
  private readonly refreshing = new Refresh();
  /** Runs that somebody has switched on or off. */
  private readonly chosen = new Map<string, boolean>();
  private readonly stops: (() => void)[] = [];
  private answeredMs = Date.now();
  private version = 0;
  private errors = 0;
  private renderedAt = 0;
  private badgedAt = -BADGE_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sinceMs: number | null = null;
  private loaded: Promise<void> = Promise.resolve();
  /** What is shown while paused. */
  private frozen: TemplateResult | null = null;

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const ticking = setInterval(() => this.tick(), TICK_MS);
    const seen = () => this.seen();
    document.addEventListener("visibilitychange", seen);
    addEventListener("pagehide", leave);
    this.stops.push(
      eventStream.messages((message) => this.take(message)),
      shortcuts(document, this.keys()),
      () => clearInterval(ticking),
      () => document.removeEventListener("visibilitychange", seen),
      () => removeEventListener("pagehide", leave),
    );
    this.loaded = this.refresh();
    this.seen();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stops.splice(0).forEach((stop) => stop());
  }

  private keys() {
    return [
      { key: " ", label: "Pause or resume", run: () => this.togglePause() },
      { key: "n", label: "Write a note", run: () => this.writeNote() },
      { key: "l", label: "Logarithmic loss", run: () => this.graphs?.toggleLog() },
      { key: "t", label: "Steps or wall time", run: () => this.graphs?.toggleAxis() },
      { key: "j", label: "Next event", run: () => this.walk(1) },
      { key: "k", label: "Event before", run: () => this.walk(-1) },
      { key: "Enter", label: "Open the event", run: () => undefined },
      { key: "/", label: "Search in the Battle Log", run: () => location.assign(`${logHref({})}#search`) },
      { key: "Escape", label: "Back to the newest", run: () => this.toNewest() },
    ];
  }

  private take(message: StreamMessage): void {
    const nowMs = Date.now();
    this.feed.take(message, nowMs);
    if (message.type === "event") this.learn(message.event, nowMs, true);
    else if (message.type === "snapshot") {
      const { events, routine } = message.snapshot;
      for (const event of [...routine, ...events].reverse()) this.learn(event, nowMs, false);
      this.refreshing.want("soon");
    }
    if (message.type !== "event" || !this.feed.isFolded(message.event)) this.list?.arrived();
    this.changed();
  }

  private learn(event: RealmEvent, nowMs: number, live: boolean): void {
    this.courses.learn(event, nowMs, live);
    this.clocks.heard(event);
    if (!live) return;
    if (event.severity === "error") this.errors += 1;
    this.refreshing.want(event.kind === "training_step" ? "later" : "soon");
  }

  private async refresh(): Promise<void> {
    this.refreshing.began(Date.now());
    try {
      const [answer, receipts] = await Promise.all([getState(), getReceipts()]);
      [this.answer, this.receipts, this.problem, this.answeredMs] = [answer, receipts, "", Date.now()];
      if (receipts.some((one) => one.emitted === null)) this.refreshing.want("eventually");
    } catch (error) {
      this.refreshing.want("soon");
      this.failed(error);
    }
    this.changed();
  }

  private tick(): void {
    const due = this.refreshing.due(Date.now(), document.hidden);
    if (due && !this.paused && this.feed.status === "live") void this.refresh();
    if (!document.hidden) noteSeen(Date.now());
    this.list?.arrived();
    this.requestUpdate();
  }

  /** The page is looked at (again): what happened since the last time? */
  private seen(): void {
    if (document.hidden) return leave();
    const sinceMs = lastSeen(Date.now());
    if (sinceMs !== null) void this.lookBack(sinceMs);
    noteSeen(Date.now());
  }

  private async lookBack(sinceMs: number): Promise<void> {
    const since = new Date(sinceMs).toISOString();
    await this.loaded; // It knows the workers by name.
    try {
      const [counts, lost] = await Promise.all([
        getJson<KindCount[]>("api/battle_log/summary", { by: "kind,severity", since }),
        getJson<RealmEvent[]>("api/battle_log", { kind: "process_lost,worker_stale", since, limit: "3" }),
      ]);
      const workers = Object.values(this.answer?.state.workers ?? {});
      const workerOf = new Map(workers.map((one) => [one.producer ?? "", one.worker_id]));
      this.away = [...awayItems(counts, sinceMs), ...lostItems(lost, workerOf)];
      this.sinceMs = sinceMs;
    } catch (error) {
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    // The pill tells already that the service is away.
    if (error instanceof ApiError && (error.status === 0 || error.status === 503)) return;
    this.problem = error instanceof ApiError ? `${error.message} ${error.hint}` : String(error);
  }

  /** Draw the panels a few times a second, however many events come; the list draws itself. */
  private changed(): void {
    if (this.timer !== undefined) return;
    const wait = Math.max(0, this.renderedAt + RENDER_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.renderedAt = performance.now();
      if (!this.paused) this.version += 1;
      this.requestUpdate();
    }, wait);
  }

  private togglePause(): void {
    this.paused = !this.paused;
    if (!this.paused) this.version += 1;
  }

  private writeNote(): void {
    const run = this.runs()[0];
    const last = run ? this.courses.get(run.run_id)?.points.at(-1) : undefined;
    const step = last?.step ?? run?.step;
    this.noteDialog.open({
      run_id: run?.run_id ?? null,
      hero_id: run?.hero_id ?? null,
      campaign_id: run?.campaign_id ?? null,
      details: step ? { step } : {},
    });
  }

  private walk(by: number): void {
    const links = [...this.querySelectorAll<HTMLElement>(".events .message")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  }

  private toNewest(): void {
    (document.activeElement as HTMLElement | null)?.blur();
    this.list?.toTop();
  }

  /** All runs, newest first; those the stream brought before the state knew them in front. */
  private runs(): RunState[] {
    return Object.values(this.answer?.state.training.runs ?? {});
  }

  private legend(): LegendRun[] {
    const runs = this.runs();
    const known = new Set(runs.map((run) => run.run_id));
    const unknown = this.answer ? this.courses.newerThan(known, Date.parse(runs[0]?.step_at ?? "")) : [];
    const running = runs.filter((run, index) => index === 0 || run.status === "running").slice(0, SHOWN_RUNS);
    const usual = new Set([...running.map((run) => run.run_id), ...unknown]);
    return [...unknown, ...known]
      .slice(0, LISTED_RUNS)
      .map((id) => ({ id, shown: this.chosen.get(id) ?? usual.has(id) }));
  }

  private toggleRun(told: CustomEvent<string>): void {
    const run = this.legend().find((one) => one.id === told.detail);
    if (run) this.chosen.set(run.id, !run.shown);
    this.frozen = null;
    this.requestUpdate();
  }

  private pill() {
    const age = this.feed.lastArrivalMs === null ? null : (Date.now() - this.feed.lastArrivalMs) / 1_000;
    const expecting = this.answer !== null && expectsNews(this.answer.state);
    const word = pillWord(this.feed.status, this.paused, age, expecting);
    return html`<span class="pill connection ${word.toLowerCase()}" data-testid="status-pill" title="Age of the last event">
        <span class="dot" aria-hidden="true"></span>${word}
        <span class="soft age">${age === null ? "no event yet" : formatAge(age)}</span>
      </span>
      <button data-testid="pause" aria-pressed=${this.paused} @click=${() => this.togglePause()}>${this.paused ? "Resume" : "Pause"}</button>
      <button @click=${() => this.writeNote()}>Note</button>`;
  }

  /** Title and icon may lag: drawing an icon ten times a second would cost more than it tells. */
  private badge(): void {
    if (performance.now() - this.badgedAt < BADGE_MS) return;
    this.badgedAt = performance.now();
    const run = this.runs()[0];
    const points = run ? (this.courses.get(run.run_id)?.points ?? []) : [];
    const loss = run ? liveRun(run, points.at(-1)).loss : null;
    const curve = points.slice(-64).flatMap((point) => (Number.isFinite(point.loss) ? [point.loss!] : []));
    const text = typeof loss === "number" ? formatNumber(loss) : typeof loss === "string" ? loss : null;
    showBadge(this.errors, text, curve);
  }

  protected override render() {
    this.badge();
    this.frozen = this.paused ? (this.frozen ?? this.body()) : null;
    const since = this.sinceMs === null ? "" : formatAge((Date.now() - this.sinceMs) / 1_000);
    return html`<realm-header page="war-room" .tools=${this.pill()}></realm-header>
      <main class="war-room">
        <h1 class="visually-hidden">War Room</h1>
        ${panels.awayStrip(this.away, since, () => (this.away = []))}
        ${this.problem ? html`<p class="ribbon ink-error" role="alert">${this.problem}</p>` : nothing}
        ${this.frozen ?? this.body()}
      </main>
      <realm-note-dialog></realm-note-dialog>`;
  }

  private body(): TemplateResult {
    const realm = this.answer?.state;
    const { late, lastLate } = this.feed;
    return html`<div class="topline">${panels.severityPanel(realm)} ${panels.receiptsLine(this.receipts)}</div>
      <div class="ribbons">${realm ? panels.guildRibbon(realm) : nothing} ${panels.lateRibbon(late, lastLate)}</div>
      <div class="columns">
        <div class="column wide">
          ${this.graphPanel()} ${this.progress()} ${realm ? panels.jobsPanel(realm) : nothing}
        </div>
        <div class="column">
          <realm-event-list .feed=${this.feed} .paused=${this.paused}></realm-event-list>
          ${this.workers()}
          ${realm ? html`<div class="pair">${panels.championPanel(realm)} ${panels.evalsPanel(realm)}</div>` : nothing}
        </div>
      </div>`;
  }

  private graphPanel() {
    const legend = this.legend();
    const shown = legend.filter((run) => run.shown).map((run) => this.courses.show(run.id));
    return html`<realm-graph-panel
      .courses=${shown}
      .legend=${legend}
      .colours=${this.courses.colours}
      .version=${this.version}
      .loading=${!this.answer}
      @toggle-run=${this.toggleRun}
    ></realm-graph-panel>`;
  }

  private progress() {
    return this.runs()
      .filter((run, index) => index === 0 || run.status === "running")
      .slice(0, SHOWN_RUNS)
      .map((run) => panels.progressPanel(run, this.courses.get(run.run_id), Date.now()));
  }

  private workers() {
    if (!this.answer) return nothing;
    const workers = Object.values(this.answer.state.workers);
    const { receipts, clocks, answeredMs } = this;
    return panels.workersPanel({ workers, receipts, clocks, answeredMs, nowMs: Date.now() });
  }
}

const leave = () => noteSeen(Date.now());

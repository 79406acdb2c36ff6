import { LitElement, html, nothing } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { getJson, ApiError } from "../shared/api";
import { formatAge, formatNumber } from "../shared/format";
import "../shared/page-header";
import { shortcuts } from "../shared/shortcuts";
import { eventStream } from "../stream/event-stream";
import type { RealmEvent, StreamMessage } from "../stream/types";
import { awayItems, lastSeen, noteSeen, type AwayItem } from "./away";
import { showBadge } from "./badge";
import { aroundHref, eventHref } from "./event-list";
import { Feed } from "./feed";
import "./loss-graph";
import type { NoteDialog } from "./note-dialog";
import "./note-dialog";
import * as panels from "./panels";
import { RunCourse, type Axis, type Point, type SeriesAnswer } from "./runs";
import { getReceipts, getState, type Receipt, type RunState, type StateAnswer } from "./state";

const RENDER_MS = 100;
const STATE_MS = 2_000;
const STALE_S = 60;
const SHOWN_RUNS = 4;
const HISTORY_POINTS = 2_000;
const SMOOTHINGS = [0, 0.6, 0.9, 0.97];

const learningRate = (point: Point) => point.learningRate;
const speed = (point: Point) => point.speed;

/** The page beside a running training. */
@customElement("realm-war-room")
export class WarRoom extends LitElement {
  @state() private answer: StateAnswer | null = null;
  @state() private receipts: Receipt[] = [];
  @state() private problem = "";
  @state() private paused = false;
  @state() private axis: Axis = "step";
  @state() private log = false;
  @state() private smoothing = 0;
  @state() private hover = "";
  @state() private away: AwayItem[] = [];
  @query("realm-note-dialog") private noteDialog!: NoteDialog;
  private readonly feed = new Feed();
  private readonly courses = new Map<string, RunCourse>();
  private answeredMs = Date.now();
  private version = 0;
  private errors = 0;
  private dirty = true;
  private stateDue = 0;
  private lastRender = 0;
  private frame = 0;
  private readonly sinceMs = lastSeen(Date.now());

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    eventStream.messages((message) => this.take(message));
    void this.refresh();
    if (this.sinceMs !== null) void this.lookBack(this.sinceMs);
    setInterval(() => this.tick(), 1_000);
    addEventListener("pagehide", () => noteSeen(Date.now()));
    shortcuts(document, [
      { key: " ", label: "Pause or resume", run: () => this.togglePause() },
      { key: "n", label: "Write a note", run: () => this.writeNote() },
      { key: "l", label: "Logarithmic loss", run: () => (this.log = !this.log) },
      { key: "t", label: "Steps or time", run: () => (this.axis = this.axis === "step" ? "time" : "step") },
      { key: "j", label: "Next event", run: () => this.walk(1) },
      { key: "k", label: "Event before", run: () => this.walk(-1) },
      { key: "Enter", label: "Open the event", run: () => undefined },
      { key: "/", label: "Search in the Battle Log", run: () => location.assign("./battle-log#search") },
      { key: "Escape", label: "Back to the newest", run: () => this.toNewest() },
    ]);
  }

  private take(message: StreamMessage): void {
    const nowMs = Date.now();
    this.feed.take(message, nowMs);
    const events =
      message.type === "event"
        ? [message.event]
        : message.type === "snapshot"
          ? [...message.snapshot.events].reverse().concat(message.snapshot.routine)
          : [];
    for (const event of events) this.learn(event, nowMs, message.type === "event");
    if (message.type === "snapshot") this.stateDue = 0;
    this.changed();
  }

  private learn(event: RealmEvent, nowMs: number, live: boolean): void {
    const run = event.run_id ?? event.producer;
    if (event.kind === "training_step") this.course(run).step(event, nowMs);
    else if (this.courses.has(run)) this.courses.get(run)!.count(1, nowMs);
    const course = this.courses.get(run) ?? [...this.courses.values()].at(-1);
    if (event.kind !== "training_step") course?.mark(event);
    if (live && event.severity === "error") this.errors += 1;
  }

  /** The course of a run; one that is new here gets its history from the log. */
  private course(run: string): RunCourse {
    let course = this.courses.get(run);
    if (!course) {
      course = new RunCourse(run);
      this.courses.set(run, course);
      void this.loadHistory(course);
    }
    return course;
  }

  private async loadHistory(course: RunCourse): Promise<void> {
    const fields = "loss,learning_rate,tokens_per_second,samples_per_second";
    const own = /^[0-9a-f]{16}$/.test(course.id) ? "producer" : "run";
    const params = { kind: "training_step", fields, points: String(HISTORY_POINTS), [own]: course.id };
    try {
      course.load(await getJson<SeriesAnswer>("api/battle_log/series", params));
      const found = await getJson<RealmEvent[]>("api/battle_log", {
        [own]: course.id,
        kind: "checkpoint_saved,checkpoint_promoted,note",
        limit: "200",
      });
      for (const event of found.reverse()) course.mark(event);
      this.changed();
    } catch (error) {
      this.failed(error);
    }
  }

  private async refresh(): Promise<void> {
    this.stateDue = Date.now() + STATE_MS;
    try {
      const [answer, receipts] = await Promise.all([getState(), getReceipts()]);
      [this.answer, this.receipts, this.problem, this.answeredMs] = [answer, receipts, "", Date.now()];
      for (const run of Object.keys(answer.state.training.runs).slice(0, SHOWN_RUNS)) this.course(run);
    } catch (error) {
      this.failed(error);
    }
    this.changed();
  }

  private async lookBack(sinceMs: number): Promise<void> {
    const since = new Date(sinceMs).toISOString();
    const params = { by: "kind,severity", since };
    try {
      this.away = awayItems(await getJson("api/battle_log/summary", params), sinceMs);
    } catch (error) {
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    // The pill tells already that the service is away.
    if (error instanceof ApiError && (error.status === 0 || error.status === 503)) return;
    this.problem = error instanceof ApiError ? `${error.message} ${error.hint}` : String(error);
  }

  private tick(): void {
    if (this.dirty && Date.now() >= this.stateDue && this.feed.status === "live") {
      this.dirty = false;
      void this.refresh();
    }
    noteSeen(Date.now());
    this.requestUpdate();
  }

  /** Draw at most ten times a second, however many events come. */
  private changed(): void {
    this.dirty = true;
    if (this.frame) return;
    this.frame = window.setTimeout(
      () => {
        this.frame = 0;
        this.lastRender = performance.now();
        if (!this.paused) this.version += 1;
        this.requestUpdate();
      },
      Math.max(0, RENDER_MS - (performance.now() - this.lastRender)),
    );
  }

  private togglePause(): void {
    this.paused = !this.paused;
    this.feed.hold(this.paused);
    if (!this.paused) this.version += 1;
  }

  private writeNote(): void {
    const run = this.answer?.state.training;
    const details = run?.step ? { step: run.step } : {};
    this.noteDialog.open({ run_id: run?.run_id ?? null, hero_id: run?.hero_id ?? null, campaign_id: run?.campaign_id ?? null, details });
  }

  private walk(by: number): void {
    const links = [...this.querySelectorAll<HTMLElement>(".events .message")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  }

  private toNewest(): void {
    getSelection()?.removeAllRanges();
    (document.activeElement as HTMLElement | null)?.blur();
    this.querySelector(".feed")?.scrollTo(0, 0);
  }

  private pill() {
    const age = this.feed.lastArrivalMs === null ? null : (Date.now() - this.feed.lastArrivalMs) / 1_000;
    const live = age !== null && age > STALE_S ? "Stale" : "Live";
    const connection = this.feed.status === "live" ? live : this.feed.status === "connecting" ? "Connecting" : "Reconnecting";
    const word = this.paused ? "Paused" : connection;
    return html`<span class="pill connection ${word.toLowerCase()}" data-testid="status-pill">
        <span class="dot" aria-hidden="true"></span>${word}
        <span class="soft">${age === null ? "" : formatAge(age)}</span>
      </span>
      <button data-testid="pause" aria-pressed=${this.paused} @click=${() => this.togglePause()}>${this.paused ? "Resume" : "Pause"}</button>
      <button @click=${() => this.writeNote()}>Note</button>`;
  }

  protected override render() {
    const realm = this.answer?.state;
    const loss = realm?.training.loss;
    showBadge(this.errors, typeof loss === "number" ? formatNumber(loss) : null);
    return html`<realm-header page="war-room" .tools=${this.pill()}></realm-header>
      <main class="war-room">
        <h1 class="visually-hidden">War Room</h1>
        ${panels.awayStrip(this.away, this.sinceMs === null ? "" : formatAge((Date.now() - this.sinceMs) / 1_000), () => (this.away = []))}
        ${this.problem ? html`<p class="ribbon ink-error" role="alert">${this.problem}</p>` : nothing}
        <div class="topline">
          ${realm ? panels.severityPanel(realm) : nothing} ${panels.receiptsLine(this.receipts)}
        </div>
        ${realm ? panels.guildRibbon(realm) : nothing} ${panels.lateRibbon(this.feed.late)}
        <div class="columns">
          <div class="column wide">
            ${this.graph()} ${this.progress()} ${realm ? panels.jobsPanel(realm) : nothing}
            ${realm ? panels.workersPanel(Object.values(realm.workers), this.receipts, this.answeredMs, Date.now()) : nothing}
          </div>
          <div class="column">
            <realm-event-list .feed=${this.feed} .paused=${this.paused} .version=${this.version}></realm-event-list>
            ${realm ? html`<div class="pair">${panels.championPanel(realm)} ${panels.evalsPanel(realm)}</div>` : nothing}
          </div>
        </div>
      </main>
      <realm-note-dialog></realm-note-dialog>`;
  }

  private progress() {
    const runs = Object.values(this.answer?.state.training.runs ?? {}).filter(
      (run: RunState, index) => index === 0 || run.status === "running",
    );
    return runs.slice(0, SHOWN_RUNS).map((run) => panels.progressPanel(run, this.courses.get(run.run_id), Date.now()));
  }

  private shownCourses(): RunCourse[] {
    const runs = Object.keys(this.answer?.state.training.runs ?? {});
    const known = runs.map((run) => this.courses.get(run)).filter((one) => one !== undefined);
    const others = [...this.courses.values()].filter((one) => !known.includes(one)).reverse();
    return [...others, ...known].slice(0, SHOWN_RUNS);
  }

  private graph() {
    const courses = this.shownCourses();
    const notes = courses.flatMap((course) => course.markers.map((marker) => marker.event)).filter((event) => event.kind === "note");
    const graph = (label: string, pick: ((point: Point) => number | null) | undefined, height: number, marked: boolean) =>
      html`<realm-loss-graph
        role="img"
        aria-label=${`${label} of ${courses.length} runs; the figures stand under Progress`}
        data-testid=${marked ? "loss-graph" : nothing}
        .courses=${courses}
        .pick=${pick ?? ((point: Point) => point.loss)}
        .axis=${this.axis}
        .log=${marked && this.log}
        .smoothing=${marked ? this.smoothing : 0}
        .height=${height}
        .version=${this.version}
        .marked=${marked}
        .label=${label}
        @hover-text=${(told: CustomEvent<string>) => (this.hover = told.detail)}
        @pick-time=${(told: CustomEvent<{ timeMs: number; event: RealmEvent | null }>) =>
          location.assign(aroundHref(told.detail.timeMs, told.detail.event))}
      ></realm-loss-graph>`;
    return html`<section class="card graph" aria-label="Loss">
      <div class="card-head">
        <h2>Loss</h2>
        <span class="hover soft">${this.hover}</span>
        <span class="controls">
          <button aria-pressed=${this.axis === "time"} @click=${() => (this.axis = this.axis === "step" ? "time" : "step")}>Wall time</button>
          <button aria-pressed=${this.log} @click=${() => (this.log = !this.log)}>Log</button>
          <label>Smooth
            <select @change=${(e: Event) => (this.smoothing = Number((e.target as HTMLSelectElement).value))}>
              ${SMOOTHINGS.map((one) => html`<option value=${one}>${one || "off"}</option>`)}
            </select>
          </label>
        </span>
      </div>
      ${courses.length ? nothing : html`<p class="empty-state soft">No training step yet. <code>realm.training_step(step, loss)</code> draws here.</p>`}
      ${courses.length ? graph("loss", undefined, 260, true) : nothing}
      ${courses.length ? html`<div class="pair small"><figure><figcaption>Learning rate</figcaption>${graph("learning rate", learningRate, 120, false)}</figure>
        <figure><figcaption>Speed (per second)</figcaption>${graph("speed", speed, 120, false)}</figure></div>` : nothing}
      <ul class="legend">${courses.map((course, index) => html`<li class="series-${(index % 6) + 1}">${course.id}</li>`)}</ul>
      ${panels.pinnedNotes(notes, eventHref)}
    </section>`;
  }
}

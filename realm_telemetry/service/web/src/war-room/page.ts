import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { type ApiError, asApiError, type NoteFields, postNote } from "../shared/api";
import { connectionPill, downNotice, problemNotice } from "../shared/connection";
import { formatAge, formatNumber } from "../shared/format";
import type { RunSeries } from "../shared/graph/run-series";
import { logHref } from "../shared/links";
import "../shared/page-header";
import { shortcuts } from "../shared/shortcuts";
import { say } from "../shared/toast";
import type { ConnectionStatus, RealmEvent, StreamMessage } from "../stream/event";
import { eventStream } from "../stream/event-stream";
import { lateRibbon, receiptsLine, severityPanel } from "./event-counts";
import { type EventList, Feed } from "./event-list";
import "./event-list";
import type { GraphPanel } from "./graph-panel";
import "./graph-panel";
import { currentRuns, openRunsPanel, problemsText, RunChoice, Runs, runsOfNow } from "./runs";
import { LatestState, liveRun, type RunState, WorkerClocks } from "./state";
import { championPanel, evalsPanel, guildPanel, jobsPanel, progressPanel, workersPanel } from "./state-panels";
import { awayStrip, WhileAway } from "./while-away";

const STALE_S = 60;
const RENDER_MS = 250;
const TICK_MS = 1_000;
const BADGE_MS = 2_000;

type PillWord = "Live" | "Connecting" | "Reconnecting" | "Paused" | "Stale";

/** The word of the status pill. expecting: whether something runs that sends events every few seconds. */
export function pillWord(
  status: ConnectionStatus,
  paused: boolean,
  ageS: number | null,
  expecting: boolean,
): PillWord {
  if (status === "reconnecting") return "Reconnecting";
  if (paused) return "Paused";
  if (status === "connecting") return "Connecting";
  return expecting && ageS !== null && ageS > STALE_S ? "Stale" : "Live";
}

interface StatusView {
  feed: Feed;
  paused: boolean;
  /** Whether something runs that sends events every few seconds. */
  expecting: boolean;
  togglePause: () => void;
  writeNote: () => void;
}

/** The tools in the header: connection status, time since the last event, pause and note. */
function statusTools({ feed, paused, expecting, togglePause, writeNote }: StatusView): TemplateResult {
  const age = feed.lastArrivalMs === null ? null : (Date.now() - feed.lastArrivalMs) / 1_000;
  const word = pillWord(feed.status, paused, age, expecting);
  const lastEvent = age === null ? "no events yet" : formatAge(age);
  return html`${connectionPill(word, html` <span class="soft age" title="Time since the last event">${lastEvent}</span>`)}
    <button data-testid="pause" aria-pressed=${paused} @click=${togglePause}>${paused ? "Resume" : "Pause"}</button>
    <button data-testid="note" @click=${writeNote}>Add note</button>`;
}

/** The page for a running training: RealmState, kept current by the stream. */
@customElement("realm-war-room")
export class WarRoom extends LitElement {
  @state() private problem: ApiError | null = null;
  @state() private paused = false;
  @query("realm-note-dialog") private noteDialog!: NoteDialog;
  @query("realm-event-list") private list!: EventList | null;
  @query("realm-graph-panel") private graphs!: GraphPanel | null;
  private readonly feed = new Feed();
  private readonly clocks = new WorkerClocks();
  private readonly runs = new Runs(() => this.changed(), (error) => this.failed(error));
  private readonly runChoice = new RunChoice(this.runs);
  private readonly latest = new LatestState(
    this,
    () => !this.paused && this.feed.status === "live",
    () => this.answered(),
    (error) => this.failed(error),
  );
  private readonly whileAway = new WhileAway(
    this,
    () => this.latest.loaded.then(() => this.latest.workerOf),
    (error) => this.failed(error),
  );
  private readonly stops: (() => void)[] = [];
  private version = 0;
  private errors = 0;
  private renderedAt = 0;
  private badgedAt = -BADGE_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** The panels as they were when the page was paused. */
  private frozen: TemplateResult | null = null;

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const ticking = setInterval(() => this.tick(), TICK_MS);
    this.stops.push(
      eventStream.messages((message) => this.take(message)),
      shortcuts(document, this.keys()),
      () => clearInterval(ticking),
    );
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stops.splice(0).forEach((stop) => stop());
  }

  private keys() {
    return [
      { key: " ", label: "Pause or resume", run: this.togglePause },
      { key: "n", label: "Add a note", run: this.writeNote },
      { key: "l", label: "Loss on a logarithmic scale", run: () => this.graphs?.toggleLog() },
      { key: "t", label: "Steps or wall time on the graph", run: () => this.graphs?.toggleAxis() },
      { key: "j", label: "Next event", run: () => this.list?.walk(1) },
      { key: "k", label: "Previous event", run: () => this.list?.walk(-1) },
      { key: "Enter", label: "Open the event", run: () => undefined },
      { key: "/", label: "Search in the Battle Log", run: () => location.assign(`${logHref({})}#search`) },
      { key: "Escape", shown: "Esc", label: "Back to the newest event", run: () => this.list?.toTop() },
      { key: "?", label: "Show this list", run: () => undefined },
    ];
  }

  private take(message: StreamMessage): void {
    const nowMs = Date.now();
    this.feed.take(message, nowMs);
    if (message.type === "event") this.learn(message.event, nowMs, true);
    else if (message.type === "snapshot") {
      const { events, routine } = message.snapshot;
      for (const event of [...routine, ...events].reverse()) this.learn(event, nowMs, false);
      this.latest.want("soon");
    }
    if (message.type !== "event" || !this.feed.hasNoRow(message.event)) this.list?.arrived();
    this.changed();
  }

  private learn(event: RealmEvent, nowMs: number, live: boolean): void {
    this.runs.learn(event, nowMs, live);
    this.clocks.heard(event);
    if (!live) return;
    if (event.severity === "error") this.errors += 1;
    this.latest.want(event.kind === "training_step" ? "later" : "soon");
  }

  /** Ages grow even if no event arrives. */
  private tick(): void {
    this.list?.arrived();
    this.requestUpdate();
  }

  private answered(): void {
    this.problem = null;
    this.changed();
  }

  private failed(error: unknown): void {
    this.problem = asApiError(error);
  }

  /** Draw the panels a few times a second, however many events arrive; the list draws itself. */
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

  private readonly togglePause = (): void => {
    this.paused = !this.paused;
    if (!this.paused) this.version += 1;
  };

  /** A note belongs to the newest run, at its current step. */
  private readonly writeNote = (): void => {
    const run = this.latest.runs[0];
    const last = run ? this.runs.get(run.run_id)?.points.at(-1) : undefined;
    const step = last?.step ?? run?.step;
    this.noteDialog.open({
      run_id: run?.run_id ?? null,
      hero_id: run?.hero_id ?? null,
      campaign_id: run?.campaign_id ?? null,
      details: step ? { step } : {},
    });
  };

  private toggleRun(event: CustomEvent<string>): void {
    this.runChoice.toggle(event.detail, this.latest.runs);
    this.frozen = null;
    this.requestUpdate();
  }

  /** Update title and icon every two seconds: drawing an icon is costly. */
  private badge(): void {
    if (performance.now() - this.badgedAt < BADGE_MS) return;
    this.badgedAt = performance.now();
    const run = this.latest.runs[0];
    const problems = problemsText(this.runsOfNow());
    showBadge({ ...badgeOf(this.errors, run, run && this.runs.get(run.run_id)), problems });
  }

  private runsOfNow() {
    return runsOfNow([...this.latest.summaries.values()], Date.now());
  }

  protected override render() {
    this.badge();
    this.frozen = this.paused ? (this.frozen ?? this.body()) : null;
    const { feed, paused, togglePause, writeNote, whileAway } = this;
    const tools = statusTools({ feed, paused, expecting: this.latest.expectsEvents, togglePause, writeNote });
    return html`<realm-header page="war-room" .tools=${tools}></realm-header>
      <main class="war-room">
        <h1 class="visually-hidden">War Room</h1>
        ${awayStrip(whileAway.items, whileAway.durationText, whileAway.dismiss)}
        ${this.notice()}
        ${this.frozen ?? this.body()}
      </main>
      <realm-note-dialog></realm-note-dialog>`;
  }

  private notice(): TemplateResult | typeof nothing {
    const { realm, answeredMs } = this.latest;
    const lastMs = realm ? answeredMs : null;
    if (this.problem) return problemNotice(this.problem, lastMs);
    return this.isDown ? downNotice(lastMs) : nothing;
  }

  private body(): TemplateResult {
    const { realm, receipts } = this.latest;
    const { late, lastLate } = this.feed;
    const isNew = realm !== undefined && Object.values(realm.system.counts.by_severity).every((count) => !count) && this.feed.lastArrivalMs === null;
    return html`<div class="topline">${severityPanel(realm)} ${receiptsLine(receipts)}</div>
      <div class="ribbons">${lateRibbon(late, lastLate)}</div>
      <div class="columns ${isNew ? "is-new" : ""}">
        <div class="column wide">
          ${openRunsPanel(this.runsOfNow(), this.runs)} ${this.graphPanel()} ${this.progress()} ${realm ? jobsPanel(realm) : nothing}
        </div>
        <div class="column">
          <realm-event-list .feed=${this.feed} .paused=${this.paused}></realm-event-list>
          ${this.workers()}
          ${realm ? html`<div class="pair">${championPanel(realm)} ${evalsPanel(realm)}</div> ${guildPanel(realm)}` : nothing}
        </div>
      </div>`;
  }

  private graphPanel() {
    const isFailing = this.isDown || this.problem !== null;
    const waiting = this.latest.realm ? "" : isFailing ? "Not read yet." : "Loading …";
    const legend = waiting ? [] : this.runChoice.legend(this.latest.runs);
    const shown = legend.filter((run) => run.shown).map((run) => this.runs.show(run.id));
    return html`<realm-graph-panel
      .runs=${shown}
      .legend=${legend}
      .colours=${this.runs.colours}
      .version=${this.version}
      .waiting=${waiting}
      @toggle-run=${this.toggleRun}
    ></realm-graph-panel>`;
  }

  private progress() {
    return currentRuns(this.latest.runs).map((run) => progressPanel(run, this.runs.get(run.run_id), Date.now()));
  }

  private get isDown(): boolean {
    return this.feed.status === "reconnecting";
  }

  /** While the service is down nobody can be heard: nobody gets stale by that. */
  private workers() {
    const { realm, receipts, answeredMs } = this.latest;
    if (!realm) return nothing;
    const workers = Object.values(realm.workers);
    return workersPanel({ workers, receipts, clocks: this.clocks, answeredMs, nowMs: this.isDown ? answeredMs : Date.now() });
  }
}

const SIZE = 32;
const CURVE_POINTS = 64;
const SHOWN_POINTS = 16;
const ERROR = "#b3261e";
const PAPER = "#0f1217";
const CURVE = "#7fb2ff";

interface Badge {
  errors: number;
  loss: string | null;
  curve: readonly number[];
  /** "1 stalled"; empty if all runs are well. */
  problems: string;
}

/** What the browser tab shows of the newest run. */
export function badgeOf(errors: number, run: RunState | undefined, series: RunSeries | undefined): Badge {
  const points = series?.points ?? [];
  const loss = run ? liveRun(run, points.at(-1)).loss : null;
  const curve = points.slice(-CURVE_POINTS).flatMap((point) => (Number.isFinite(point.loss) ? [point.loss!] : []));
  const text = typeof loss === "number" ? formatNumber(loss) : typeof loss === "string" ? loss : null;
  return { errors, loss: text, curve, problems: "" };
}

/** Set title and icon of the tab: errors and loss are visible from other tabs. */
export function showBadge({ errors, loss, curve, problems }: Badge): void {
  const title = titleOf(errors, loss, problems);
  if (document.title === title && document.querySelector("link[rel=icon]")) return;
  document.title = title;
  drawIcon(errors, curve.slice(-SHOWN_POINTS));
}

export function titleOf(errors: number, loss: string | null, problems = ""): string {
  const prefix = errors ? `(✕ ${errors}) ` : "";
  return `${problems && `${problems} · `}${prefix}${loss === null ? "" : `loss ${loss} · `}War Room`;
}

function drawIcon(errors: number, curve: readonly number[]): void {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const ctx = canvas.getContext("2d");
  if (!ctx) return;
  ctx.fillStyle = PAPER;
  ctx.beginPath();
  ctx.roundRect(0, 0, SIZE, SIZE, 7);
  ctx.fill();
  drawCurve(ctx, curve.length > 1 ? curve : [3, 1.6, 1, 0.7, 0.5]);
  if (errors) drawCount(ctx, errors);
  const link = document.querySelector<HTMLLinkElement>("link[rel=icon]") ?? document.createElement("link");
  link.rel = "icon";
  link.href = canvas.toDataURL();
  if (!link.isConnected) document.head.append(link);
}

function drawCurve(ctx: CanvasRenderingContext2D, curve: readonly number[]): void {
  const least = Math.min(...curve);
  const span = Math.max(...curve) - least || 1;
  ctx.strokeStyle = CURVE;
  ctx.lineWidth = 3;
  ctx.lineJoin = "round";
  ctx.beginPath();
  curve.forEach((value, index) => {
    ctx.lineTo(5 + (index / (curve.length - 1)) * (SIZE - 10), SIZE - 6 - ((value - least) / span) * (SIZE - 12));
  });
  ctx.stroke();
}

function drawCount(ctx: CanvasRenderingContext2D, errors: number): void {
  ctx.fillStyle = ERROR;
  ctx.beginPath();
  ctx.arc(21, 11, 11, 0, 2 * Math.PI);
  ctx.fill();
  ctx.fillStyle = "#fff";
  ctx.font = "bold 15px sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(errors > 9 ? "9+" : String(errors), 21, 12);
}

/** The form for a note: it is stored in the log and pinned to the graph. */
@customElement("realm-note-dialog")
export class NoteDialog extends LitElement {
  @query("dialog") private dialog!: HTMLDialogElement;
  @query("textarea") private text!: HTMLTextAreaElement;
  @state() private problem = "";
  private fields: NoteFields = {};

  protected override createRenderRoot() {
    return this;
  }

  open(fields: NoteFields): void {
    this.fields = fields;
    this.problem = "";
    this.dialog.showModal();
    this.text.focus();
  }

  private async submit(submitted: SubmitEvent): Promise<void> {
    submitted.preventDefault();
    const message = this.text.value.trim();
    if (!message) return this.dialog.close();
    try {
      await postNote(message, this.fields);
      this.text.value = "";
      this.dialog.close();
      say("Note saved");
    } catch (error) {
      const { message, hint } = asApiError(error);
      this.problem = `${message} ${hint}`;
    }
  }

  protected override render() {
    return html`<dialog class="note-dialog" aria-label="Add a note">
      <form @submit=${this.submit}>
        <label for="note-text">Note for this point of the run</label>
        <textarea id="note-text" rows="3" maxlength="2000"></textarea>
        ${this.problem ? html`<p class="ink-error" role="alert">${this.problem}</p>` : ""}
        <div class="dialog-buttons">
          <button type="button" @click=${() => this.dialog.close()}>Cancel</button>
          <button class="primary">Save note</button>
        </div>
      </form>
    </dialog>`;
  }
}

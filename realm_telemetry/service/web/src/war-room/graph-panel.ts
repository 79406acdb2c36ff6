import { html, LitElement, nothing } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { formatTime, plural, shownText } from "../shared/format";
import type { LineGraph } from "../shared/graph/line-graph";
import "../shared/graph/line-graph";
import { SERIES_COLOURS } from "../shared/graph/palette";
import { type Axis, learningRateOf, lossOf, type Pick, speedOf } from "../shared/graph/plot";
import type { RunSeries } from "../shared/graph/run-series";
import { aroundHref, eventHref } from "../shared/links";
import type { RealmEvent } from "../stream/event";
import type { LegendRun } from "./runs";

const KEY = "realm-graph";
const SMOOTHINGS = [0, 0.6, 0.9, 0.97] as const;
const LISTED_MARKS = 30;

interface Look {
  axis: Axis;
  log: boolean;
  smoothing: number;
}

/** Loss, learning rate and speed of the selected runs, with the controls of the graphs. */
@customElement("realm-graph-panel")
export class GraphPanel extends LitElement {
  @property({ attribute: false }) runs: readonly RunSeries[] = [];
  @property({ attribute: false }) legend: readonly LegendRun[] = [];
  @property({ attribute: false }) colours: ReadonlyMap<string, number> = new Map();
  @property({ type: Number }) version = 0;
  /** The state is not loaded yet. */
  /** Why nothing is known yet; empty if it is. */
  @property() waiting = "";
  @state() private look: Look = storedLook();
  @state() private hover = "";
  @state() private zoomed = false;
  @query("realm-line-graph") private loss!: LineGraph | null;

  protected override createRenderRoot() {
    return this;
  }

  toggleLog(): void {
    this.set({ log: !this.look.log });
  }

  toggleAxis(): void {
    this.set({ axis: this.look.axis === "step" ? "time" : "step" });
  }

  private set(change: Partial<Look>): void {
    this.look = { ...this.look, ...change };
    if (change.axis) this.zoomed = false;
    localStorage.setItem(KEY, JSON.stringify(this.look));
  }

  protected override render() {
    return html`<section class="card graph" aria-label="Loss">
      <div class="card-head">
        <h2>Loss</h2>
        <span class="hover soft">${this.hover}</span>
        ${this.runs.length ? this.controls() : nothing}
      </div>
      ${this.runs.length ? this.graphs() : this.empty()} ${this.legend.length ? this.legendList() : nothing}
      ${this.notes()} ${this.marks()}
    </section>`;
  }

  private controls() {
    const { axis, log, smoothing } = this.look;
    return html`<span class="controls">
      ${this.zoomed ? html`<button @click=${() => this.loss?.unzoom()}>Reset zoom</button>` : nothing}
      <button aria-pressed=${axis === "time"} @click=${this.toggleAxis} title="Over the time of day in place of steps">By time</button>
      <button aria-pressed=${log} @click=${this.toggleLog} title="Equal distances are equal factors: 10, 1, 0.1">Log scale</button>
      <label title="Averages over so many steps; the measured values stay faintly behind"
        >Smoothing
        <select @change=${(e: Event) => this.set({ smoothing: Number((e.target as HTMLSelectElement).value) })}>
          ${SMOOTHINGS.map((one) => html`<option value=${one} ?selected=${one === smoothing}>${one || "off"}</option>`)}
        </select>
      </label>
    </span>`;
  }

  private empty() {
    if (this.legend.length) return html`<div class="empty-state"><p class="soft">No run selected.</p></div>`;
    return html`<div class="empty-state" data-testid="loss-graph">
      ${this.waiting
        ? html`<p class="soft">${this.waiting}</p>`
        : html`<p>No training steps yet.</p>
            <p class="soft">Call <code>realm.training_step(step, loss)</code> to draw the loss here.</p>`}
    </div>`;
  }

  private graphs() {
    const small: readonly (readonly [string, string, Pick])[] = [
      ["Learning rate", "learning rate", learningRateOf],
      ["Speed (tokens or samples per second)", "speed", speedOf],
    ];
    const shown = small.filter(([, , pick]) => this.runs.some((run) => run.points.some((point) => pick(point) !== null)));
    return html`${this.graph("loss", lossOf, 270, true)}
      <div class="pair small">
        ${shown.map(([caption, label, pick]) => html`<figure><figcaption>${caption}</figcaption>${this.graph(label, pick, 104, false)}</figure>`)}
      </div>`;
  }

  private graph(label: string, pick: Pick, height: number, main: boolean) {
    return html`<realm-line-graph
      role="img"
      aria-label="Graph of the ${label} of ${this.runs.map((run) => run.id).join(", ")}. The numbers are below it."
      data-testid=${main ? "loss-graph" : nothing}
      .runs=${this.runs}
      .colours=${this.colours}
      .pick=${pick}
      .axis=${this.look.axis}
      .log=${main && this.look.log}
      .smoothing=${main ? this.look.smoothing : 0}
      .height=${height}
      .version=${this.version}
      .marked=${main}
      .label=${label}
      @hover-text=${(sent: CustomEvent<string>) => (this.hover = sent.detail)}
      @zoomed=${(sent: CustomEvent<boolean>) => (this.zoomed = main && sent.detail)}
      @pick-time=${(sent: CustomEvent<{ timeMs: number; event: RealmEvent | null }>) =>
        location.assign(aroundHref(sent.detail.timeMs, sent.detail.event))}
    ></realm-line-graph>`;
  }

  private legendList() {
    return html`<ul class="legend" aria-label="Runs">
      ${this.legend.map(
        (run) => html`<li>
          <button class="quiet series-${((this.colours.get(run.id) ?? 0) % SERIES_COLOURS) + 1}"
            aria-pressed=${run.shown}
            @click=${() => this.dispatchEvent(new CustomEvent("toggle-run", { detail: run.id }))}
          >${run.id}</button>
        </li>`,
      )}
    </ul>`;
  }

  private notes() {
    const notes = this.marked((event) => event.kind === "note").slice(-4);
    if (!notes.length) return nothing;
    return html`<p class="notes" aria-label="Pinned notes">
      <span aria-hidden="true">📌</span>
      ${notes.map((note) => html`<a href=${eventHref(note)}>${shownText(note.message.slice(0, 80))}</a>`)}
    </p>`;
  }

  /** The markers as links too: for keyboards, touch and screen readers. */
  private marks() {
    const events = this.marked((event) => event.kind !== "note");
    if (!events.length) return nothing;
    return html`<details class="marks">
      <summary>${plural(events.length, "marker")} on the graph</summary>
      <ul>
        ${events.slice(-LISTED_MARKS).reverse().map(
          (event) => html`<li class="ink-${event.severity}">
            <time class="soft" datetime=${event.timestamp}>${formatTime(new Date(event.timestamp), { zone: "local" })}</time>
            <a href=${eventHref(event)}>${shownText(event.message.slice(0, 160))}</a>
          </li>`,
        )}
      </ul>
    </details>`;
  }

  private marked(wanted: (event: RealmEvent) => boolean): RealmEvent[] {
    const marks = this.runs.flatMap((run) => run.markers).sort((a, b) => a.timeMs - b.timeMs);
    // A note without a run is a marker of each of them.
    return [...new Map(marks.map(({ event }) => [event.id, event])).values()].filter(wanted);
  }
}

function storedLook(): Look {
  const usual: Look = { axis: "step", log: false, smoothing: 0 };
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Look>;
    return {
      axis: stored.axis === "time" ? "time" : usual.axis,
      log: stored.log === true,
      smoothing: SMOOTHINGS.find((one) => one === stored.smoothing) ?? usual.smoothing,
    };
  } catch {
    return usual; // Stored by an older version of the page.
  }
}

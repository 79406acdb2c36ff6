import { LitElement, html, type PropertyValues } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import { formatCount, formatDuration, formatNumber, formatTick, formatTime } from "../format";
import { Chart, type Layer } from "./chart";
import { cluster, drawMarkers, drawNonFinite, nonFiniteText, type Hit } from "./graph-marks";
import { readPalette, seriesColour, type Palette } from "./palette";
import { robustRange, lossOf, plotOf, type Axis, type Pick, type Plot } from "./plot";
import type { Marker, RunSeries } from "./run-series";

const DOTTED_POINTS = 30;
const DAY_S = 86_400;
const NEAR_PX = 9;
const MARKS_PX = 28;
const DRAW_MS = 250;
/** Drawing may take at most one tenth of the time. */
const IDLE_SHARE = 10;

const sameRuns = (now: readonly RunSeries[], before?: readonly RunSeries[]) =>
  !before || now.length !== before.length || now.some((run, index) => run !== before[index]);

/** Curves of several runs. A click sends `pick-time`: the time under the pointer, or a marker's event. */
@customElement("realm-line-graph")
export class LineGraph extends LitElement {
  @property({ attribute: false, hasChanged: sameRuns }) runs: readonly RunSeries[] = [];
  /** The colour number of each run. */
  @property({ attribute: false }) colours: ReadonlyMap<string, number> = new Map();
  @property({ attribute: false }) pick: Pick = lossOf;
  @property() axis: Axis = "step";
  @property({ type: Boolean }) log = false;
  @property({ type: Number }) smoothing = 0;
  @property({ type: Number }) height = 260;
  /** Changes when the runs have new points. */
  @property({ type: Number }) version = 0;
  @property({ type: Boolean }) marked = false;
  /** The range has every value, outliers too; few points are drawn as dots. */
  @property({ type: Boolean }) whole = false;
  /** Graphs with the same name have one cursor. */
  @property() sync = "";
  @property() label = "loss";
  @query(".plot") private place!: HTMLElement;
  private chart: Chart | null = null;
  private drawn: Plot = { x: [], y: [], nonFinite: [], overwritten: [] };
  private hits: Hit[] = [];
  private palette!: Palette;
  private layers: Layer[] = [];
  private zoom: readonly [number, number] | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private drawnAt = 0;
  private drawCost = 0;
  private readonly resizing = new ResizeObserver(() => this.fit());
  private readonly theming = new MutationObserver(() => this.rebuild());
  private readonly dark = matchMedia("(prefers-color-scheme: dark)");
  private readonly recolour = () => this.rebuild();

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.dark.addEventListener("change", this.recolour);
    this.theming.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.timer);
    this.dark.removeEventListener("change", this.recolour);
    this.theming.disconnect();
    this.resizing.disconnect();
    this.chart?.destroy();
    this.chart = null;
  }

  protected override render() {
    return html`<div class="plot"></div>`;
  }

  protected override firstUpdated(): void {
    this.resizing.observe(this.place);
  }

  /** Show the whole run again. */
  unzoom(): void {
    if (!this.zoom) return;
    this.zoom = null;
    this.draw();
    this.tell("zoomed", false);
  }

  protected override updated(changed: PropertyValues): void {
    if (changed.has("axis")) this.zoom = null;
    const redone = ["runs", "axis", "log", "colours"].some((name) => changed.has(name));
    if (!this.chart || redone) this.rebuild();
    else if (changed.has("smoothing")) this.draw();
    else if (changed.has("version")) this.drawSoon();
  }

  /** Draw a few times a second, however many points arrive. */
  private drawSoon(): void {
    if (this.timer !== undefined) return;
    const pause = Math.max(DRAW_MS, this.drawCost * IDLE_SHARE);
    this.timer = setTimeout(() => this.draw(), Math.max(0, this.drawnAt + pause - performance.now()));
  }

  private draw(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const began = performance.now();
    this.compute();
    this.chart?.setLayers(this.layers);
    this.drawnAt = performance.now();
    this.drawCost = this.drawnAt - began;
  }

  /** A smoothed line has the values that it smooths behind it. */
  private compute(): void {
    const { axis, smoothing, pick, log } = this;
    const of = (weight: number) => plotOf(this.runs, { axis, smoothing: weight, pick, log });
    this.drawn = of(smoothing);
    const behind = [...(smoothing ? [of(0)] : []), ...this.drawn.overwritten];
    this.layers = [...behind.map((plot) => ({ ...plot, faint: true })), this.drawn];
  }

  private fit(): void {
    const width = this.place.clientWidth;
    if (width && this.chart) this.chart.resize(width);
    else if (width) this.rebuild();
  }

  private rebuild(): void {
    if (!this.place?.clientWidth) return;
    this.palette = readPalette();
    this.compute();
    this.chart?.destroy();
    const { palette } = this;
    this.chart = new Chart(this.place, {
      height: this.height,
      isTime: this.axis === "time",
      isLog: this.log,
      dotted: this.whole && this.runs.every((run) => run.points.length <= DOTTED_POINTS),
      sync: this.sync,
      colours: this.runs.map((run, index) => seriesColour(palette, this.colours.get(run.id) ?? index)),
      ink: { text: palette["--soft"], grid: palette["--line"] },
      xText: this.axis === "time" ? timeText : this.axis === "step" ? formatCount : elapsedText,
      yText: formatTick,
      // A single point needs a range around it.
      xRange: ([min, max]) => this.zoom ?? (min === max ? [min - 1, min + 1] : [min, max]),
      yRange: () => (this.marked || this.whole ? null : robustRange(this.drawn.y)),
      drawn: (chart) => this.drawMarks(chart),
      moved: (chart) => this.describe(chart),
      selected: (range) => this.zoomed(range),
      clicked: (click) => this.clicked(click),
    });
    this.chart.setLayers(this.layers);
    this.chart.resize(this.place.clientWidth);
  }

  private zoomed(range: readonly [number, number]): void {
    this.zoom = range;
    this.draw();
    this.tell("zoomed", true);
  }

  private drawMarks(chart: Chart): void {
    drawNonFinite(chart, this.drawn.nonFinite.flat(), this.palette);
    if (!this.marked) return;
    const placed = this.runs
      .flatMap((run) => run.markers.map((marker) => ({ left: chart.leftOf(this.at(run, marker)), marker })))
      .filter(({ left }) => left >= 0 && left <= chart.width);
    this.hits = cluster(placed);
    drawMarkers(chart, this.hits, this.palette);
  }

  private at(run: RunSeries, marker: Marker): number {
    if (this.axis !== "step") return (marker.timeMs - (this.axis === "elapsed" ? run.startMs : 0)) / 1_000;
    return marker.step ?? run.stepAt(marker.timeMs);
  }

  private timeAt(x: number): number | null {
    if (this.axis === "time") return x * 1_000;
    if (this.axis === "elapsed") return x * 1_000 + (this.runs[0]?.startMs ?? 0);
    return this.runs[0]?.nearest(x)?.timeMs ?? null;
  }

  private hit(left: number, top: number): Hit | undefined {
    if (!this.marked || top > MARKS_PX) return undefined;
    return this.hits.find((one) => Math.abs(one.left - left) <= NEAR_PX);
  }

  private clicked(click: MouseEvent): void {
    const hit = this.hit(click.offsetX, click.offsetY);
    const timeMs = hit?.marker.timeMs ?? this.timeAt(this.chart!.xAt(click.offsetX));
    if (timeMs !== null) this.tell("pick-time", { timeMs, event: hit?.marker.event ?? null });
  }

  private describe(chart: Chart): void {
    const { idx, left, top } = chart.cursor;
    const hit = this.hit(left, top);
    chart.over.classList.toggle("on-marker", hit !== undefined);
    if (hit) return this.tell("hover-text", `${hit.marker.event.message.slice(0, 120)}${hit.count > 1 ? ` (and ${hit.count - 1} more)` : ""}`);
    if (idx === null) return this.tell("hover-text", "");
    const x = this.drawn.x[idx]!;
    const at = this.axis === "step" ? `step ${formatCount(Math.round(x))}` : this.axis === "elapsed" ? `after ${formatDuration(x)}` : formatTime(new Date(x * 1_000), { zone: "local" });
    this.tell("hover-text", `${at} · ${this.label} ${this.valuesAt(idx, x).join(" / ") || "–"}`);
  }

  private valuesAt(idx: number, x: number): string[] {
    return this.runs.flatMap((_, run) => {
      const value = this.drawn.y[run]?.[idx];
      if (typeof value === "number") return [formatNumber(value)];
      const nonFinite = this.drawn.nonFinite[run]?.find((one) => one.x === x);
      return nonFinite ? [nonFiniteText(nonFinite.value)] : [];
    });
  }

  private tell(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** 24-hour times in one line, as precise as the ticks. */
function timeText(seconds: number, everyS: number): string {
  const text = formatTime(new Date(seconds * 1_000), { zone: "local", date: everyS >= DAY_S });
  if (everyS >= DAY_S) return text.slice(5, 10);
  return everyS >= 60 ? text.slice(0, 5) : text;
}

const elapsedText = (seconds: number) => (seconds === 0 ? "0" : formatDuration(Math.round(seconds)));

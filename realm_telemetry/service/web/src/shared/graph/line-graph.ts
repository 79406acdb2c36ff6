import { LitElement, html, type PropertyValues } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatCount, formatNumber, formatTick, formatTime } from "../format";
import { cluster, drawMarkers, drawNonFinite, nonFiniteText, type Hit } from "./graph-marks";
import { readPalette, seriesColour, type Palette } from "./palette";
import { robustRange, lossOf, plotOf, type Axis, type Pick, type Plot } from "./plot";
import type { Marker, RunSeries } from "./run-series";

const DRAG_PX = 4;
const DOTTED_POINTS = 30;
const DAY_S = 86_400;
const NEAR_PX = 9;
const MARKS_PX = 28;
const DRAW_MS = 250;
/** Drawing may take at most one tenth of the time. */
const IDLE_SHARE = 10;
const FONT = "11px system-ui, sans-serif";

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
  private plot: uPlot | null = null;
  private drawn: Plot = { x: [], y: [], nonFinite: [] };
  private hits: Hit[] = [];
  private palette!: Palette;
  private zoom: [number, number] | null = null;
  private pressedAt = 0;
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
    this.plot?.destroy();
    this.plot = null;
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
    if (!this.plot || redone) this.rebuild();
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
    this.plot?.setData(this.data());
    this.drawnAt = performance.now();
    this.drawCost = this.drawnAt - began;
  }

  private compute(): void {
    const { axis, smoothing, pick, log } = this;
    this.drawn = plotOf(this.runs, { axis, smoothing, pick, log });
  }

  private data(): uPlot.AlignedData {
    return [this.drawn.x, ...this.drawn.y] as uPlot.AlignedData;
  }

  private fit(): void {
    const width = this.place.clientWidth;
    if (width && this.plot) this.plot.setSize({ width, height: this.height });
    else if (width) this.rebuild();
  }

  private rebuild(): void {
    if (!this.place?.clientWidth) return;
    this.palette = readPalette();
    this.compute();
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.data(), this.place);
    const over = this.plot.over;
    over.addEventListener("mousedown", (pressed) => (this.pressedAt = pressed.clientX));
    over.addEventListener("click", (click) => this.clicked(click));
  }

  private options(): uPlot.Options {
    const grid = { stroke: this.palette["--line"], width: 1 };
    const axis = { stroke: this.palette["--soft"], grid, ticks: { ...grid, size: 4 }, font: FONT };
    return {
      width: this.place.clientWidth,
      height: this.height,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      // A click leaves the page: there is no double click.
      cursor: {
        y: false,
        points: { size: 6 },
        drag: { x: true, y: false, dist: DRAG_PX },
        bind: { dblclick: () => null },
        ...(this.sync ? { sync: { key: this.sync, scales: ["x", null] } } : {}),
      },
      scales: {
        x: { time: this.axis === "time", range: (_, min, max) => this.zoom ?? widened(min, max) },
        y: { distr: this.log ? 3 : 1, ...(this.marked || this.whole ? {} : { range: () => robustRange(this.drawn.y) ?? [0, 1] }) },
      },
      axes: [
        { ...axis, size: 28, space: 56, values: this.axis === "step" ? stepTicks : timeTicks },
        { ...axis, size: 58, space: 26, values: (_, at) => at.map((v) => (v === null ? "" : formatTick(v))) },
      ],
      series: [
        {},
        ...this.runs.map((run, index) => ({
          label: run.id,
          stroke: seriesColour(this.palette, this.colours.get(run.id) ?? index),
          width: 1.5,
          points: { show: this.whole && run.points.length <= DOTTED_POINTS, size: 5 },
        })),
      ],
      hooks: {
        draw: [(plot) => this.drawMarks(plot)],
        setCursor: [(plot) => this.describe(plot)],
        setSelect: [(plot) => this.zoomed(plot)],
      },
    };
  }

  private zoomed(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < DRAG_PX) return;
    this.zoom = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    this.tell("zoomed", true);
  }

  private drawMarks(plot: uPlot): void {
    drawNonFinite(plot, this.drawn.nonFinite.flat(), this.palette);
    if (!this.marked) return;
    const width = plot.over.clientWidth;
    const placed = this.runs
      .flatMap((run) => run.markers.map((marker) => ({ left: plot.valToPos(this.at(run, marker), "x"), marker })))
      .filter(({ left }) => left >= 0 && left <= width);
    this.hits = cluster(placed);
    drawMarkers(plot, this.hits, this.palette);
  }

  private at(run: RunSeries, marker: Marker): number {
    if (this.axis === "time") return marker.timeMs / 1_000;
    return marker.step ?? run.stepAt(marker.timeMs);
  }

  private timeAt(x: number): number | null {
    if (this.axis === "time") return x * 1_000;
    return this.runs[0]?.nearest(x)?.timeMs ?? null;
  }

  private hit(left: number, top: number): Hit | undefined {
    if (!this.marked || top > MARKS_PX) return undefined;
    return this.hits.find((one) => Math.abs(one.left - left) <= NEAR_PX);
  }

  private clicked(click: MouseEvent): void {
    if (Math.abs(click.clientX - this.pressedAt) > DRAG_PX) return;
    const hit = this.hit(click.offsetX, click.offsetY);
    const timeMs = hit?.marker.timeMs ?? this.timeAt(this.plot!.posToVal(click.offsetX, "x"));
    if (timeMs !== null) this.tell("pick-time", { timeMs, event: hit?.marker.event ?? null });
  }

  private describe(plot: uPlot): void {
    const { idx, left = -1, top = -1 } = plot.cursor;
    const hit = this.hit(left, top);
    plot.over.classList.toggle("on-marker", hit !== undefined);
    if (hit) return this.tell("hover-text", `${hit.marker.event.message.slice(0, 120)}${hit.count > 1 ? ` (and ${hit.count - 1} more)` : ""}`);
    if (idx === null || idx === undefined || left < 0) return this.tell("hover-text", "");
    const x = this.drawn.x[idx]!;
    const at = this.axis === "step" ? `step ${formatCount(Math.round(x))}` : formatTime(new Date(x * 1_000), { zone: "local" });
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

const stepTicks: uPlot.Axis.DynamicValues = (_, at) => at.map((value) => formatCount(value));

/** 24-hour times in one line, as precise as the ticks. */
const timeTicks: uPlot.Axis.DynamicValues = (_, at, __, ___, everyS) =>
  at.map((value) => {
    const text = formatTime(new Date(value * 1_000), { zone: "local", date: everyS >= DAY_S });
    if (everyS >= DAY_S) return text.slice(5, 10);
    return everyS >= 60 ? text.slice(0, 5) : text;
  });

/** A single point needs a range around it. */
function widened(min: number | null, max: number | null): [number | null, number | null] {
  return min !== null && min === max ? [min - 1, min + 1] : [min, max];
}

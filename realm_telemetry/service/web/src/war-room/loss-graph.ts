import { LitElement, html, type PropertyValues } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatNumber, formatTick, formatTime } from "../shared/format";
import { plotOf, type Axis, type Marker, type Plot, type Point, type RunCourse } from "./runs";

const MARK_RADIUS = 4;
const NEAR_PX = 10;

/** A token of the stylesheet as a colour that a canvas understands. */
export function token(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

/** Curves of several runs; a click tells the time under the pointer, or the event of a marker. */
@customElement("realm-loss-graph")
export class LossGraph extends LitElement {
  @property({ attribute: false }) courses: readonly RunCourse[] = [];
  @property({ attribute: false }) pick: (point: Point) => number | null = (point) => point.loss;
  @property() axis: Axis = "step";
  @property({ type: Boolean }) log = false;
  @property({ type: Number }) smoothing = 0;
  @property({ type: Number }) height = 260;
  /** Changes when the courses have new points. */
  @property({ type: Number }) version = 0;
  @property({ type: Boolean }) marked = false;
  @property() label = "loss";
  @query(".plot") private place!: HTMLElement;
  private plot: uPlot | null = null;
  private drawn: Plot = { x: [], y: [], odd: [] };
  private shape = "";
  private readonly resizing = new ResizeObserver(() => this.fit());

  protected override createRenderRoot() {
    return this;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.resizing.disconnect();
    this.plot?.destroy();
    this.plot = null;
    this.shape = "";
  }

  protected override render() {
    return html`<div class="plot"></div>`;
  }

  protected override firstUpdated(): void {
    this.resizing.observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
    new MutationObserver(() => this.rebuild()).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
  }

  protected override updated(_changed: PropertyValues): void {
    this.drawn = plotOf(this.courses, this.axis, this.smoothing, this.pick);
    const shape = [this.axis, this.log, ...this.courses.map((course) => course.id)].join();
    if (!this.plot || shape !== this.shape) return this.rebuild(shape);
    this.plot.setData(this.data());
  }

  private data(): uPlot.AlignedData {
    return [this.drawn.x, ...this.drawn.y] as uPlot.AlignedData;
  }

  private fit(): void {
    const width = this.place.clientWidth;
    if (width && this.plot) this.plot.setSize({ width, height: this.height });
  }

  private rebuild(shape = this.shape): void {
    if (!this.place?.clientWidth) return;
    this.shape = shape;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.data(), this.place);
    this.plot.over.addEventListener("click", (click) => this.clicked(click));
  }

  private options(): uPlot.Options {
    const ink = token("--soft");
    const grid = { stroke: token("--line"), width: 1 };
    const font = "11px system-ui, sans-serif";
    return {
      width: this.place.clientWidth,
      height: this.height,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false } },
      scales: { x: { time: this.axis === "time" }, y: { distr: this.log ? 3 : 1 } },
      axes: [
        { stroke: ink, grid, ticks: grid, font, ...(this.axis === "step" ? { values: counted } : {}) },
        { stroke: ink, grid, ticks: grid, font, size: 56, values: (_, at) => at.map((v) => (v === null ? "" : formatTick(v))) },
      ],
      series: [
        {},
        ...this.courses.map((course, index) => ({
          label: course.id,
          stroke: token(`--series-${(index % 6) + 1}`),
          width: 1.5,
          points: { show: false },
          value: (_: uPlot, value: number | null) => (value === null ? "–" : formatNumber(value)),
        })),
      ],
      hooks: { draw: [(plot) => this.drawMarks(plot)], setCursor: [(plot) => this.tell(plot)] },
    };
  }

  /** Markers of events at the top, what was not finite as crosses at the bottom. */
  private drawMarks(plot: uPlot): void {
    const { ctx, bbox } = plot;
    ctx.save();
    const scale = devicePixelRatio;
    for (const marker of this.marked ? this.markers() : []) {
      const x = plot.valToPos(this.at(marker), "x", true);
      if (!(x >= bbox.left && x <= bbox.left + bbox.width)) continue;
      ctx.strokeStyle = ctx.fillStyle = token(`--${marker.event.kind === "note" ? "accent" : marker.event.severity}`);
      ctx.globalAlpha = 0.35;
      ctx.fillRect(x, bbox.top, 1, bbox.height);
      ctx.globalAlpha = 1;
      ctx.beginPath();
      ctx.arc(x, bbox.top + MARK_RADIUS * scale, MARK_RADIUS * scale, 0, 2 * Math.PI);
      if (marker.event.kind === "checkpoint_saved") ctx.stroke();
      else ctx.fill();
    }
    ctx.strokeStyle = token("--error");
    ctx.lineWidth = 2 * scale;
    for (const x of this.drawn.odd.flat()) this.cross(ctx, plot.valToPos(x, "x", true), bbox.top + bbox.height - 8 * scale, 4 * scale);
    ctx.restore();
  }

  private cross(ctx: CanvasRenderingContext2D, x: number, y: number, r: number): void {
    ctx.beginPath();
    ctx.moveTo(x - r, y - r);
    ctx.lineTo(x + r, y + r);
    ctx.moveTo(x + r, y - r);
    ctx.lineTo(x - r, y + r);
    ctx.stroke();
  }

  private markers(): Marker[] {
    return this.courses.flatMap((course) => course.markers);
  }

  private at(marker: Marker): number {
    if (this.axis === "time") return marker.timeMs / 1_000;
    return marker.step ?? this.stepAt(marker.timeMs);
  }

  private stepAt(timeMs: number): number {
    const near = this.courses.flatMap((course) => course.points).filter((point) => point.timeMs <= timeMs);
    return near.at(-1)?.step ?? Number.NaN;
  }

  private timeAt(x: number): number | null {
    if (this.axis === "time") return x * 1_000;
    const points = this.courses.flatMap((course) => course.points);
    const nearest = points.reduce<Point | null>(
      (best, point) => (!best || Math.abs(point.step - x) < Math.abs(best.step - x) ? point : best),
      null,
    );
    return nearest?.timeMs ?? null;
  }

  private near(left: number): Marker | undefined {
    const plot = this.plot!;
    return this.markers().find((marker) => Math.abs(plot.valToPos(this.at(marker), "x") - left) < NEAR_PX);
  }

  private clicked(click: MouseEvent): void {
    const left = click.offsetX;
    const marker = this.marked && click.offsetY < 3 * NEAR_PX ? this.near(left) : undefined;
    const timeMs = marker?.timeMs ?? this.timeAt(this.plot!.posToVal(left, "x"));
    if (timeMs === null) return;
    this.dispatchEvent(new CustomEvent("pick-time", { detail: { timeMs, event: marker?.event ?? null } }));
  }

  private tell(plot: uPlot): void {
    const { idx, left } = plot.cursor;
    if (idx === null || idx === undefined || (left ?? -1) < 0) return this.said("");
    const x = this.drawn.x[idx]!;
    const at = this.axis === "step" ? `step ${formatNumber(x)}` : formatTime(new Date(x * 1_000), { zone: "local" });
    const values = this.courses.flatMap((_, run) => {
      const value = this.drawn.y[run]?.[idx];
      return typeof value === "number" ? [formatNumber(value)] : [];
    });
    const marker = this.marked ? this.near(left!) : undefined;
    this.said([at, `${this.label} ${values.join(" / ") || "–"}`, marker?.event.message.slice(0, 80)].filter(Boolean).join(" · "));
  }

  private said(text: string): void {
    this.dispatchEvent(new CustomEvent("hover-text", { detail: text }));
  }
}

const counted = (_: uPlot, at: number[]) => at.map((value) => value.toLocaleString("en-US"));

import { linearTicks, logTicks, type Ticks, timeTicks } from "./plot";
const ROOM = { top: 8, right: 10, bottom: 28, left: 58 } as const;
const TICK_PX = { x: 56, y: 20 } as const;
const FONT = "11px system-ui, sans-serif";
const LINE_PX = 1.5;
const DOT_PX = 2.5;
const FAINT = 0.28;
/** A shorter drag is a click. */
const DRAG_PX = 4;

/** Lines over the same x values: null breaks a line, undefined (the x of another line) does not. */
export interface Layer {
  x: readonly number[];
  y: readonly (readonly (number | null | undefined)[])[];
  /** Behind the others, and not read by the pointer. */
  faint?: boolean;
}

export type Range = readonly [number, number];

export interface ChartOptions {
  height: number;
  isTime: boolean;
  isLog: boolean;
  /** Each value is a dot too. */
  dotted: boolean;
  /** Charts with the same name have one cursor; empty for none. */
  sync: string;
  colours: readonly string[];
  ink: { text: string; grid: string };
  xText: (value: number, every: number) => string;
  yText: (value: number) => string;
  /** The range of all x, or a part of it. */
  xRange: (all: Range) => Range;
  /** The range of y; null for that of the values. */
  yRange: () => Range | null;
  drawn: (chart: Chart) => void;
  moved: (chart: Chart) => void;
  selected: (range: Range) => void;
  clicked: (click: MouseEvent) => void;
}

const synced = new Map<string, Set<Chart>>();

/** Lines with axes on a canvas, a cursor over them, and a range to drag. Positions are in CSS pixels of the plot's area. */
export class Chart {
  /** The area inside the axes, which gets the pointer. */
  readonly over = box("plot-over");
  readonly ctx: CanvasRenderingContext2D;
  readonly cursor: { idx: number | null; left: number; top: number } = { idx: null, left: -1, top: -1 };
  width = 0;
  private readonly canvas = document.createElement("canvas");
  private readonly rule = box("plot-cursor");
  private readonly chosen = box("plot-chosen");
  private readonly dots: HTMLElement[] = [];
  private layers: readonly Layer[] = [];
  private x: Range = [0, 1];
  private y: Range = [0, 1];
  private pressed: number | null = null;

  constructor(
    private readonly place: HTMLElement,
    private readonly options: ChartOptions,
  ) {
    this.ctx = this.canvas.getContext("2d")!;
    this.rule.hidden = this.chosen.hidden = true;
    this.over.append(this.chosen, this.rule);
    place.replaceChildren(this.canvas, this.over);
    this.listen();
    if (options.sync) synced.set(options.sync, (synced.get(options.sync) ?? new Set()).add(this));
  }

  destroy(): void {
    synced.get(this.options.sync)?.delete(this);
    this.place.replaceChildren();
  }

  get height(): number {
    return this.options.height - ROOM.top - ROOM.bottom;
  }

  resize(width: number): void {
    this.width = Math.max(width - ROOM.left - ROOM.right, 1);
    const scale = devicePixelRatio;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(this.options.height * scale);
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${this.options.height}px` });
    Object.assign(this.over.style, { left: `${ROOM.left}px`, top: `${ROOM.top}px`, width: `${this.width}px`, height: `${this.height}px` });
    this.draw();
  }

  setLayers(layers: readonly Layer[]): void {
    this.layers = layers;
    this.draw();
  }

  xAt(left: number): number {
    return this.x[0] + (left / this.width) * (this.x[1] - this.x[0]);
  }

  leftOf(x: number): number {
    return ((x - this.x[0]) / (this.x[1] - this.x[0])) * this.width;
  }

  private topOf(y: number): number {
    const to = this.options.isLog ? Math.log10 : (value: number) => value;
    return (1 - (to(y) - to(this.y[0])) / (to(this.y[1]) - to(this.y[0]))) * this.height;
  }

  private draw(): void {
    if (!this.width) return;
    const { ctx, options } = this;
    const xs = this.layers.flatMap(({ x }) => (x.length ? [x[0]!, x.at(-1)!] : []));
    this.x = options.xRange(xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 1]);
    this.y = options.yRange() ?? this.usualRange();
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, this.width + ROOM.left + ROOM.right, options.height);
    ctx.translate(ROOM.left, ROOM.top);
    if (xs.length) this.drawAxes();
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, 0, this.width, this.height);
    ctx.clip();
    for (const layer of this.layers) layer.y.forEach((line, at) => this.drawLine(layer, line, options.colours[at % options.colours.length]!));
    ctx.restore();
    options.drawn(this);
  }

  /** That of all values within sight, with some room; numbers that are never negative keep a zero. */
  private usualRange(): Range {
    let [low, high] = [Infinity, -Infinity];
    for (const { x, y } of this.layers) {
      for (const line of y) {
        line.forEach((value, at) => {
          if (typeof value !== "number" || x[at]! < this.x[0] || x[at]! > this.x[1]) return;
          low = Math.min(low, value);
          high = Math.max(high, value);
        });
      }
    }
    if (low > high) return this.options.isLog ? [1, 10] : [0, 1];
    if (this.options.isLog) return [low / 1.2, high * 1.2];
    const room = (high - low || Math.abs(high) || 1) * 0.1;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  }

  private drawAxes(): void {
    const { ctx, options, width, height } = this;
    const most = { x: Math.floor(width / TICK_PX.x), y: Math.floor(height / TICK_PX.y) };
    const offsetS = -new Date(this.x[0] * 1_000).getTimezoneOffset() * 60;
    const x: Ticks = options.isTime ? timeTicks(...this.x, most.x, offsetS) : linearTicks(...this.x, most.x, 1);
    const y: Ticks = options.isLog ? logTicks(...this.y, most.y) : linearTicks(...this.y, most.y);
    ctx.font = FONT;
    ctx.fillStyle = options.ink.text;
    ctx.strokeStyle = options.ink.grid;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.textBaseline = "top";
    for (const at of x.at) {
      const left = Math.round(this.leftOf(at)) + 0.5;
      ctx.moveTo(left, 0);
      ctx.lineTo(left, height + 4);
      const text = options.xText(at, x.every);
      const half = ctx.measureText(text).width / 2;
      // The last label stays inside the canvas.
      ctx.textAlign = "left";
      ctx.fillText(text, Math.min(left - half, width + ROOM.right - 2 * half), height + 8);
    }
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    for (const at of y.at) {
      const top = Math.round(this.topOf(at)) + 0.5;
      ctx.moveTo(-4, top);
      ctx.lineTo(width, top);
      ctx.fillText(options.yText(at), -8, top, ROOM.left - 10);
    }
    ctx.stroke();
  }

  private drawLine({ x, faint }: Layer, line: Layer["y"][number], colour: string): void {
    const { ctx } = this;
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.globalAlpha = faint ? FAINT : 1;
    ctx.lineWidth = LINE_PX;
    ctx.lineJoin = "round";
    const dots = new Path2D();
    const dot = (left: number, top: number) => {
      dots.moveTo(left + DOT_PX, top);
      dots.arc(left, top, DOT_PX, 0, 2 * Math.PI);
    };
    let count = 0;
    let last: [number, number] | null = null;
    // A value between two gaps has no line, and would not be seen.
    const end = () => {
      if (last && count === 1 && !this.options.dotted) dot(...last);
      count = 0;
    };
    ctx.beginPath();
    line.forEach((value, at) => {
      if (value === undefined) return;
      if (value === null) return end();
      const [left, top] = [this.leftOf(x[at]!), this.topOf(value)];
      if (count++) ctx.lineTo(left, top);
      else ctx.moveTo(left, top);
      last = [left, top];
      if (this.options.dotted && !faint) dot(left, top);
    });
    end();
    ctx.stroke();
    ctx.fill(dots);
    ctx.globalAlpha = 1;
  }

  private listen(): void {
    const { over } = this;
    over.addEventListener("mousedown", (event) => (this.pressed = event.button === 0 ? event.offsetX : null));
    over.addEventListener("mousemove", (event) => {
      const left = event.clientX - over.getBoundingClientRect().left;
      this.drag(left);
      this.point(this.xAt(left), left, event.clientY - over.getBoundingClientRect().top);
      this.tell((other) => other.point(this.xAt(left), other.leftOf(this.xAt(left)), -1));
    });
    over.addEventListener("mouseleave", () => {
      this.chosen.hidden = true;
      this.pressed = null;
      this.leave();
      this.tell((other) => other.leave());
    });
    over.addEventListener("click", (click) => {
      const from = this.pressed;
      this.pressed = null;
      this.chosen.hidden = true;
      const to = click.clientX - over.getBoundingClientRect().left;
      if (from === null || Math.abs(to - from) < DRAG_PX) return this.options.clicked(click);
      this.options.selected([this.xAt(Math.min(from, to)), this.xAt(Math.max(from, to))]);
    });
  }

  private drag(left: number): void {
    const from = this.pressed;
    if (from === null) return;
    this.chosen.hidden = Math.abs(left - from) < DRAG_PX;
    Object.assign(this.chosen.style, { left: `${Math.min(left, from)}px`, width: `${Math.abs(left - from)}px` });
  }

  private tell(what: (other: Chart) => void): void {
    for (const other of synced.get(this.options.sync) ?? []) if (other !== this) what(other);
  }

  private leave(): void {
    Object.assign(this.cursor, { idx: null, left: -1, top: -1 });
    this.rule.hidden = true;
    for (const dot of this.dots) dot.hidden = true;
    this.options.moved(this);
  }

  private point(x: number, left: number, top: number): void {
    const layer = this.layers.at(-1);
    const idx = layer?.x.length ? nearest(layer.x, x) : null;
    if (!layer || idx === null || left < 0 || left > this.width) return this.leave();
    const at = this.leftOf(layer.x[idx]!);
    Object.assign(this.cursor, { idx, left, top });
    this.rule.hidden = false;
    this.rule.style.left = `${at}px`;
    layer.y.forEach((line, index) => this.dot(index, at, line[idx]));
    this.options.moved(this);
  }

  private dot(index: number, left: number, value: number | null | undefined): void {
    const dot = (this.dots[index] ??= this.over.appendChild(box("plot-dot")));
    dot.hidden = typeof value !== "number";
    if (typeof value !== "number") return;
    Object.assign(dot.style, { left: `${left}px`, top: `${this.topOf(value)}px`, background: this.options.colours[index % this.options.colours.length] });
  }
}

function box(name: string): HTMLElement {
  const made = document.createElement("div");
  made.className = name;
  return made;
}

/** The index of the value that is nearest to one; values ascend. */
function nearest(values: readonly number[], wanted: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - values[low - 1]! < values[low]! - wanted ? low - 1 : low;
}

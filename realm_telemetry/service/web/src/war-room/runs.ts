import { timeMs } from "../shared/format";
import type { RealmEvent } from "../stream/types";

const MAX_POINTS = 6_000;
const RATE_BUCKETS = 30;
const RATE_BUCKET_MS = 2_000;
const MARKED_KINDS: ReadonlySet<string> = new Set(["checkpoint_saved", "checkpoint_promoted", "note"]);

export interface Point {
  step: number;
  timeMs: number;
  loss: number | null;
  learningRate: number | null;
  speed: number | null;
}

export interface Marker {
  event: RealmEvent;
  step: number | null;
  timeMs: number;
}

/** The answer of api/battle_log/series for loss, learning_rate, tokens_per_second, samples_per_second. */
export interface SeriesAnswer {
  points: [number, number, unknown, ...unknown[]][];
}

/** NaN and infinities come as texts, because JSON has none. */
export function toNumber(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (value === "NaN") return Number.NaN;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  return value === "-Infinity" ? Number.NEGATIVE_INFINITY : null;
}

/** The course of one run: bounded, thinned to every second point when it is full. */
export class RunCourse {
  points: Point[] = [];
  markers: Marker[] = [];
  readonly rate: number[] = Array<number>(RATE_BUCKETS).fill(0);
  private rateAt = 0;
  private stride = 1;
  private skipped = 0;

  constructor(readonly id: string) {}

  /** Put the history before what the stream has brought meanwhile. */
  load(answer: SeriesAnswer): void {
    const live = this.points;
    const history = answer.points.map(([, ms, step, ...values]) => ({
      step: toNumber(step) ?? 0,
      timeMs: ms,
      loss: toNumber(values[0]),
      learningRate: toNumber(values[1]),
      speed: toNumber(values[2]) ?? toNumber(values[3]),
    }));
    const until = history.at(-1)?.timeMs ?? -Infinity;
    this.points = [...history, ...live.filter((point) => point.timeMs > until)];
  }

  step(event: RealmEvent, nowMs: number): void {
    this.count(1 + (event.coalesced ?? 0), nowMs);
    const details = event.details;
    const point: Point = {
      step: toNumber(details["step"]) ?? this.points.length,
      timeMs: timeMs(event),
      loss: toNumber(details["loss"]),
      learningRate: toNumber(details["learning_rate"]),
      speed: toNumber(details["tokens_per_second"]) ?? toNumber(details["samples_per_second"]),
    };
    const odd = point.loss !== null && !Number.isFinite(point.loss);
    if (!odd && ++this.skipped % this.stride) return;
    // A coalesced event may come after a later one.
    const before = this.points.findLastIndex((other) => other.timeMs <= point.timeMs);
    if (this.points[before]?.step === point.step) return;
    this.points.splice(before + 1, 0, point);
    if (this.points.length > MAX_POINTS) this.thin();
  }

  mark(event: RealmEvent): void {
    if (!MARKED_KINDS.has(event.kind) && event.severity !== "warning" && event.severity !== "error") return;
    if (this.markers.some((marker) => marker.event.id === event.id)) return;
    this.markers.push({ event, step: toNumber(event.details["step"]), timeMs: timeMs(event) });
    this.markers = this.markers.slice(-200);
  }

  count(events: number, nowMs: number): void {
    const bucket = Math.floor(nowMs / RATE_BUCKET_MS);
    const passed = Math.min(bucket - this.rateAt, RATE_BUCKETS);
    if (this.rateAt && passed > 0) {
      this.rate.splice(0, passed);
      while (this.rate.length < RATE_BUCKETS) this.rate.push(0);
    }
    this.rateAt = Math.max(bucket, this.rateAt);
    this.rate[RATE_BUCKETS - 1]! += events;
  }

  /** Events a second over the last minute. */
  perSecond(nowMs: number): number {
    this.count(0, nowMs);
    return this.rate.reduce((sum, one) => sum + one, 0) / ((RATE_BUCKETS * RATE_BUCKET_MS) / 1_000);
  }

  private thin(): void {
    const odd = (point: Point) => point.loss !== null && !Number.isFinite(point.loss);
    this.points = this.points.filter((point, index) => index % 2 === 0 || odd(point));
    this.stride *= 2;
  }
}

export type Axis = "step" | "time";

export interface Plot {
  /** Steps, or seconds since 1970; ascending. */
  x: number[];
  /** One array for each run; null is a gap. */
  y: (number | null)[][];
  /** Where a loss was not finite: x of each run. */
  odd: number[][];
}

/** Runs side by side on one axis, smoothed, with gaps where a process was silent for long. */
export function plotOf(
  courses: readonly RunCourse[],
  axis: Axis,
  smoothing: number,
  pick: (point: Point) => number | null = (point) => point.loss,
): Plot {
  const at = (point: Point) => (axis === "step" ? point.step : point.timeMs / 1_000);
  const lines = courses.map((course) => lineOf(course.points, at, smoothing, pick));
  const x = [...new Set(lines.flatMap((line) => [...line.values.keys()]))].sort((a, b) => a - b);
  return {
    x,
    // undefined joins (another run's x), null breaks.
    y: lines.map((line) => x.map((one) => line.values.get(one) as number | null)),
    odd: lines.map((line) => line.odd),
  };
}

function lineOf(
  points: readonly Point[],
  at: (point: Point) => number,
  smoothing: number,
  pick: (point: Point) => number | null,
): { values: Map<number, number | null>; odd: number[] } {
  const values = new Map<number, number | null>();
  const odd: number[] = [];
  const silence = 8 * medianGap(points);
  let mean: number | null = null;
  let before: Point | null = null;
  for (const point of points) {
    if (before && point.timeMs - before.timeMs > silence) {
      values.set((at(before) + at(point)) / 2, null);
      mean = null;
    }
    before = point;
    const value = pick(point);
    if (value === null) continue;
    if (!Number.isFinite(value)) {
      odd.push(at(point));
      values.set(at(point), null);
      continue;
    }
    mean = mean === null ? value : smoothing * mean + (1 - smoothing) * value;
    values.set(at(point), mean);
  }
  return { values, odd };
}

function medianGap(points: readonly Point[]): number {
  if (points.length < 8) return Infinity;
  const gaps = points.slice(1).map((point, index) => point.timeMs - points[index]!.timeMs);
  return Math.max(gaps.sort((a, b) => a - b)[gaps.length >> 1]!, 1_000);
}

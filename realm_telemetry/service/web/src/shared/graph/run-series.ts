import { timeMs } from "../format";
import type { RealmEvent } from "../../stream/event";

const BUCKETS = 30;
const BUCKET_MS = 2_000;
const MAX_POINTS = 6_000;
const MAX_MARKERS = 200;
const MARKED_KINDS: ReadonlySet<string> = new Set(["checkpoint_saved", "checkpoint_promoted", "note"]);
/** The requested fields of a run, in the order that `load` reads. */
export const SERIES_FIELDS = "loss,learning_rate,tokens_per_second,samples_per_second";

/** The number of events in each 2 s of the last minute. */
export class EventRate {
  readonly buckets: number[] = Array<number>(BUCKETS).fill(0);
  private at = 0;

  count(events: number, nowMs: number): void {
    const bucket = Math.floor(nowMs / BUCKET_MS);
    const passed = Math.min(bucket - this.at, BUCKETS);
    if (this.at && passed > 0) {
      this.buckets.splice(0, passed);
      while (this.buckets.length < BUCKETS) this.buckets.push(0);
    }
    this.at = Math.max(bucket, this.at);
    this.buckets[BUCKETS - 1]! += events;
  }

  perSecond(nowMs: number): number {
    this.count(0, nowMs);
    return this.buckets.reduce((sum, one) => sum + one, 0) / ((BUCKETS * BUCKET_MS) / 1_000);
  }
}

export interface Point {
  step: number;
  timeMs: number;
  loss: number | null;
  learningRate: number | null;
  speed: number | null;
  /** On a page that draws any number: the one of this curve. */
  value?: number | null;
}

export interface Marker {
  event: RealmEvent;
  step: number | null;
  timeMs: number;
}

/** The response of api/battle_log/series for SERIES_FIELDS. */
export interface SeriesAnswer {
  points: [number, number, unknown, ...unknown[]][];
}

/** NaN and infinities arrive as strings, because JSON has none. */
export function toNumber(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (value === "NaN") return Number.NaN;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  return value === "-Infinity" ? Number.NEGATIVE_INFINITY : null;
}

/** The points and markers of one run: bounded, thinned to every second point when full. */
export class RunSeries {
  points: Point[] = [];
  markers: Marker[] = [];
  /** From when on the time of a comparison counts. */
  startMs = 0;
  readonly rate = new EventRate();
  private stride = 1;
  private skipped = 0;

  constructor(readonly id: string) {}

  /** Put the history before the points that the stream has already delivered. */
  load(answer: SeriesAnswer): void {
    const live = this.points;
    const history = answer.points.map(([, ms, step, ...values], index) => ({
      step: toNumber(step) ?? index,
      timeMs: ms,
      loss: toNumber(values[0]),
      learningRate: toNumber(values[1]),
      speed: toNumber(values[2]) ?? toNumber(values[3]),
    }));
    const until = history.at(-1)?.timeMs ?? -Infinity;
    this.points = [...history, ...live.filter((point) => point.timeMs > until)];
  }

  /** Add a step; the stream delivers each only once. */
  step(event: RealmEvent): void {
    const details = event.details;
    const point: Point = {
      step: toNumber(details["step"]) ?? this.points.length,
      timeMs: timeMs(event),
      loss: toNumber(details["loss"]),
      learningRate: toNumber(details["learning_rate"]),
      speed: toNumber(details["tokens_per_second"]) ?? toNumber(details["samples_per_second"]),
    };
    if (!isNonFinite(point) && ++this.skipped % this.stride) return;
    // A coalesced event may arrive after a later one.
    const before = this.points.findLastIndex((other) => other.timeMs <= point.timeMs);
    if (this.points[before]?.step === point.step) return;
    this.points.splice(before + 1, 0, point);
    if (this.points.length > MAX_POINTS) this.thin();
  }

  /** Add a marker for a checkpoint, a note, a warning or an error, once. */
  mark(event: RealmEvent): void {
    const loud = event.severity === "warning" || event.severity === "error";
    if (!loud && !MARKED_KINDS.has(event.kind)) return;
    if (this.markers.some((marker) => marker.event.id === event.id)) return;
    this.markers.push({ event, step: toNumber(event.details["step"]), timeMs: timeMs(event) });
    this.markers.sort((a, b) => a.timeMs - b.timeMs);
    this.markers = this.markers.slice(-MAX_MARKERS);
  }

  /** The step at a time, for events without one; NaN before the first. */
  stepAt(timeMs: number): number {
    const points = this.points;
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle]!.timeMs <= timeMs) low = middle + 1;
      else high = middle;
    }
    return points[low - 1]?.step ?? Number.NaN;
  }

  /** The latest point with the nearest step. */
  nearest(step: number): Point | null {
    let best: Point | null = null;
    for (const point of this.points) {
      if (!best || Math.abs(point.step - step) <= Math.abs(best.step - step)) best = point;
    }
    return best;
  }

  private thin(): void {
    this.points = this.points.filter((point, index) => index % 2 === 0 || isNonFinite(point)).slice(-MAX_POINTS);
    this.stride *= 2;
  }
}

/** Whether the loss is NaN or infinite: such a point must never be thinned away. */
function isNonFinite(point: Point): boolean {
  return point.loss !== null && !Number.isFinite(point.loss);
}

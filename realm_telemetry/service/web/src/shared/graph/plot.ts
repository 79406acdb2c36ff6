import type { Point, RunSeries } from "./run-series";

const SILENCE = 8;
const LEAST_SILENCE_MS = 8_000;
const NEIGHBOURS = 4;

/** Steps, the time of day, or the time since the start of each run. */
export type Axis = "step" | "time" | "elapsed";
export type Pick = (point: Point) => number | null;

/** A value that is not finite, and its x. */
export interface NonFinite {
  x: number;
  value: number;
}

export interface Plot {
  /** Steps, or seconds since 1970; ascending. */
  x: number[];
  /** One array for each run: null breaks the line; undefined (the x of another run) does not. */
  y: (number | null | undefined)[][];
  nonFinite: NonFinite[][];
  /** Of each run the steps that it made again after it resumed, over an x of its own. */
  overwritten: { x: number[]; y: (number | null)[][] }[];
}

export interface PlotOptions {
  axis: Axis;
  /** Weight of the previous values; 0 for no smoothing. */
  smoothing: number;
  pick: Pick;
  log?: boolean;
}

export const lossOf: Pick = (point) => point.loss;
export const learningRateOf: Pick = (point) => point.learningRate;
export const speedOf: Pick = (point) => point.speed;
export const valueOf: Pick = (point) => point.value ?? null;

/** Runs side by side on one axis, smoothed, with gaps where a process sent nothing for long. */
export function plotOf(runs: readonly RunSeries[], options: PlotOptions): Plot {
  const lines = runs.map((run) => lineOf(run, options));
  const x = [...new Set(lines.flatMap((line) => [...line.values.keys()]))].sort((a, b) => a - b);
  return {
    x,
    y: lines.map((line) => widenBreaks(x.map((one) => line.values.get(one)))),
    nonFinite: lines.map((line) => line.nonFinite),
    overwritten: options.axis === "step" ? runs.flatMap((run, at) => overwrittenOf(run.points, at, options)) : [],
  };
}

/** The line of a run before it resumed, from where a later attempt made the same steps. */
function overwrittenOf(points: readonly Point[], at: number, { pick, log }: PlotOptions): Plot["overwritten"] {
  const kept = new Set(onPath(points));
  if (kept.size === points.length) return [];
  const x: number[] = [];
  const line: (number | null)[] = [];
  for (const point of points) {
    if (kept.has(point)) continue;
    const value = pick(point);
    if (point.step < (x.at(-1) ?? -Infinity)) {
      x.push(point.step);
      line.push(null);
    }
    x.push(point.step);
    line.push(value !== null && Number.isFinite(value) && (!log || value > 0) ? value : null);
  }
  return [{ x, y: [...Array<number[]>(at).fill([]), line] }];
}

/** Extend a break over the x values of other runs, up to the run's own neighbouring points. */
function widenBreaks(values: (number | null | undefined)[]): (number | null | undefined)[] {
  for (let index = 1; index < values.length; index++) {
    if (values[index] === undefined && values[index - 1] === null) values[index] = null;
  }
  for (let index = values.length - 2; index >= 0; index--) {
    if (values[index] === undefined && values[index + 1] === null) values[index] = null;
  }
  return values;
}

interface Line {
  values: Map<number, number | null>;
  nonFinite: NonFinite[];
}

function lineOf({ points, startMs }: RunSeries, { axis, smoothing, pick, log }: PlotOptions): Line {
  const fromMs = axis === "elapsed" ? startMs : 0;
  const at = (point: Point) => (axis === "step" ? point.step : (point.timeMs - fromMs) / 1_000);
  const line: Line = { values: new Map(), nonFinite: [] };
  const shown = axis === "step" ? onPath(points) : points;
  let mean: number | null = null;
  shown.forEach((point, index) => {
    const before = shown[index - 1];
    if (before && at(before) !== at(point) && isSilence(shown, index)) {
      line.values.set((at(before) + at(point)) / 2, null);
      mean = null;
    }
    const value = pick(point);
    if (value === null) return;
    if (!Number.isFinite(value)) {
      line.nonFinite.push({ x: at(point), value });
      line.values.set(at(point), null);
      return;
    }
    mean = mean === null ? value : smoothing * mean + (1 - smoothing) * value;
    // A logarithmic axis cannot show zero or less.
    if (!log || mean > 0) line.values.set(at(point), mean);
  });
  return line;
}

/** Drop the steps that a run repeated after it resumed from a checkpoint. */
function onPath(points: readonly Point[]): Point[] {
  const kept: Point[] = [];
  let least = Infinity;
  for (let index = points.length - 1; index >= 0; index--) {
    const point = points[index]!;
    if (point.step >= least) continue;
    least = point.step;
    kept.push(point);
  }
  return kept.reverse();
}

/** Whether a process sent nothing before a point, by the pace around it: history has fewer points. */
function isSilence(points: readonly Point[], index: number): boolean {
  const gap = (at: number) => points[at]!.timeMs - points[at - 1]!.timeMs;
  const here = gap(index);
  if (here < LEAST_SILENCE_MS || points.length < 2 * NEIGHBOURS) return false;
  const around: number[] = [];
  for (let at = index - NEIGHBOURS; at <= index + NEIGHBOURS; at++) {
    if (at !== index && at > 0 && at < points.length) around.push(gap(at));
  }
  around.sort((a, b) => a - b);
  return here > SILENCE * (around[around.length >> 1] ?? Infinity);
}

/** A range that ignores a few outliers (such as a slow first step), so that they do not flatten the rest. */
export function robustRange(y: Plot["y"]): [number, number] | null {
  const values = y.flat().filter((value): value is number => typeof value === "number");
  if (!values.length) return null;
  values.sort((a, b) => a - b);
  const of = (share: number) => values[Math.round((values.length - 1) * share)]!;
  const [low, high] = values.length < 20 ? [of(0), of(1)] : [of(0.02), of(0.98)];
  const room = (high - low || Math.abs(high) || 1) * 0.12;
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

/** Where an axis has its ticks. */

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;
const TIME_STEPS_S = [
  1, 2, 5, 10, 15, 30, MINUTE_S, 2 * MINUTE_S, 5 * MINUTE_S, 10 * MINUTE_S, 15 * MINUTE_S, 30 * MINUTE_S,
  HOUR_S, 2 * HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S, 2 * DAY_S, 5 * DAY_S, 10 * DAY_S, 30 * DAY_S, 90 * DAY_S, 365 * DAY_S,
] as const;

export interface Ticks {
  at: number[];
  /** The distance of two; 0 on a logarithmic axis. */
  every: number;
}

/** Round numbers from `min` to `max`, at most `most` of them. least: the smallest distance that makes sense. */
export function linearTicks(min: number, max: number, most: number, least = 0): Ticks {
  const rough = Math.max((max - min) / Math.max(most, 1), least, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(rough));
  const every = power * ([1, 2, 5, 10].find((one) => one * power >= rough * (1 - 1e-9)) ?? 10);
  return multiples(min, max, every, 0);
}

/** Round times of the zone that is `offsetS` seconds ahead of UTC. */
export function timeTicks(min: number, max: number, most: number, offsetS: number): Ticks {
  const rough = (max - min) / Math.max(most, 1);
  const every = TIME_STEPS_S.find((one) => one >= rough) ?? DAY_S * 365 * Math.ceil(rough / DAY_S / 365);
  return multiples(min, max, every, offsetS);
}

/** Powers of ten; where there are less than two, round numbers. */
export function logTicks(min: number, max: number, most: number): Ticks {
  const first = Math.ceil(Math.log10(min) - 1e-9);
  const last = Math.floor(Math.log10(max) + 1e-9);
  if (last - first < 1) return linearTicks(min, max, most);
  const stride = Math.ceil((last - first + 1) / Math.max(most, 1));
  return { at: Array.from({ length: Math.floor((last - first) / stride) + 1 }, (_, n) => 10 ** (first + n * stride)), every: 0 };
}

function multiples(min: number, max: number, every: number, offset: number): Ticks {
  const first = Math.ceil((min + offset) / every - 1e-9);
  const count = Math.max(0, Math.floor((max + offset) / every + 1e-9) - first + 1);
  return { at: Array.from({ length: count }, (_, n) => (first + n) * every - offset), every };
}

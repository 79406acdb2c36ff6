import { formatNumber } from "./format";
import { nonFiniteText } from "./graph/graph-marks";
import { RunSeries, toNumber, type Point } from "./graph/run-series";

/** What a number of a run adds up to, of its lowest rank. */
export interface Totals {
  ranks: number[];
  last: number | null;
  least: number | null;
  greatest: number | null;
  not_finite: number;
  first_not_finite_step: number | null;
  first_not_finite: string | null;
}

export interface Metric extends Totals {
  name: string;
  /** The name without its prefix. */
  label: string;
  /** Those of the machine have no steps. */
  axis: "step" | "time";
}

export interface Series {
  name: string;
  rank: number | null;
  steps: number[] | null;
  times: number[];
  values: number[];
  not_finite: { count: number; points: { step: number | null; time: number; value: string }[] };
}

/** `GET /api/runs/{id}/metrics` with names; docs/http-api.md has all of it. */
export interface CurvesAnswer {
  /** An older run is being read: how much of it is. */
  building: { done: number } | null;
  /** In the order to draw: the loss first, the machine last. */
  groups: { prefix: string; machine: boolean; metrics: Metric[] }[];
  series: Series[];
}

/** One number of a run over its steps or over time. */
export interface Curve {
  name: string;
  label: string;
  /** What stands before its first slash; empty for none. */
  prefix: string;
  hasSteps: boolean;
  /** One for each drawn rank, the lowest first. */
  series: RunSeries[];
  last: number;
  least: number | null;
  greatest: number | null;
  /** The first value that is not finite, and its step. */
  notFinite: { step: number | null; value: number } | null;
}

/** The curves of an answer in the order to draw; the attempts of a resumed run one after the other. */
export function curvesOf({ groups, series }: CurvesAnswer): Curve[] {
  const byName = new Map<string, Series[]>();
  for (const one of series) byName.set(one.name, [...(byName.get(one.name) ?? []), one]);
  return groups.flatMap(({ prefix, metrics }) =>
    metrics.flatMap((metric) => {
      const lines = linesOf(byName.get(metric.name) ?? []);
      return lines.length ? [curveOf(metric, prefix, lines)] : [];
    }),
  );
}

/** The ranks that any number of a run comes from, in order. */
export function ranksOf({ groups }: Pick<CurvesAnswer, "groups">): number[] {
  return [...new Set(groups.flatMap(({ metrics }) => metrics.flatMap((metric) => metric.ranks)))].sort((a, b) => a - b);
}

/** The points of each rank; ranks without any are left out. id: names a line, of its rank. */
export function linesOf(series: readonly Series[], id = (rank: number | null) => (rank === null ? "" : `rank ${rank}`)): RunSeries[] {
  const byRank = new Map<number | null, Point[]>();
  for (const one of series) byRank.set(one.rank, [...(byRank.get(one.rank) ?? []), ...pointsOf(one)]);
  return [...byRank].filter(([, points]) => points.length).map(([rank, points]) => Object.assign(new RunSeries(id(rank)), { points }));
}

function pointsOf({ steps, times, values, not_finite }: Series): Point[] {
  const point = (step: number | null, timeMs: number, value: number | null): Point => ({
    step: step ?? Number.NaN, timeMs, loss: null, learningRate: null, speed: null, value,
  });
  const finite = values.map((value, at) => point(steps?.[at] ?? null, times[at]!, value));
  if (!not_finite.points.length) return finite;
  const bad = not_finite.points.map(({ step, time, value }) => point(step, time, toNumber(value)));
  return [...finite, ...bad].sort((a, b) => (steps ? a.step - b.step : a.timeMs - b.timeMs));
}

function curveOf(metric: Metric, prefix: string, series: RunSeries[]): Curve {
  const { name, label, axis, least, greatest } = metric;
  const bad = toNumber(metric.first_not_finite);
  const isBad = metric.not_finite > 0 && bad !== null;
  const newest = series[0]!.points.at(-1)!.value!;
  return {
    name, label, prefix, series, least, greatest,
    hasSteps: axis === "step",
    last: Number.isFinite(newest) ? (metric.last ?? newest) : newest,
    notFinite: isBad ? { step: metric.first_not_finite_step, value: bad } : null,
  };
}

/** Smaller groups have no heading: their names say it, and a row of their own would be mostly empty. */
const HEADED = 2;

/** Neighbours with one prefix; without one where they are too few for a heading. */
export function grouped<T extends { prefix: string }>(metrics: readonly T[]): { heading: string; members: T[] }[] {
  const groups: { heading: string; members: T[] }[] = [];
  for (const metric of metrics) {
    const last = groups.at(-1);
    if (last && last.heading === metric.prefix) last.members.push(metric);
    else groups.push({ heading: metric.prefix, members: [metric] });
  }
  return groups.map(({ heading, members }) => ({ heading: members.length < HEADED ? "" : heading, members }));
}

/** A value as text; NaN and infinities as signs. */
export function valueText(value: number): string {
  return Number.isFinite(value) ? formatNumber(value) : nonFiniteText(value);
}

import { RunSeries, toNumber, type Point } from "../shared/graph/run-series";
import type { Curve } from "./metrics";

interface Metric {
  name: string;
  ranks: number[];
  last: number | null;
  least: number | null;
  greatest: number | null;
  not_finite: number;
  first_not_finite_step: number | null;
  first_not_finite: string | null;
}

interface Series {
  name: string;
  steps: number[] | null;
  times: number[];
  values: number[];
  not_finite: { count: number; points: { step: number | null; time: number; value: string }[] };
}

/** `GET /api/runs/{id}/metrics` with names; docs/http-api.md has all of it. */
export interface CurvesAnswer {
  /** An older run is being read: how much of it is. */
  building: { done: number } | null;
  groups: { prefix: string; machine: boolean; metrics: Metric[] }[];
  series: Series[];
}

/** The curves of an answer in the order to draw; the attempts of a resumed run one after the other. */
export function curvesOfAnswer({ groups, series }: CurvesAnswer): Curve[] {
  const attempts = new Map<string, Series[]>();
  for (const one of series) attempts.set(one.name, [...(attempts.get(one.name) ?? []), one]);
  return groups.flatMap(({ metrics }) =>
    metrics.flatMap((metric) => {
      const points = (attempts.get(metric.name) ?? []).flatMap(pointsOf);
      return points.length ? [curveOf(metric, points)] : [];
    }),
  );
}

/** The ranks that any number of a run comes from, in order. */
export function ranksOf({ groups }: CurvesAnswer): number[] {
  return [...new Set(groups.flatMap(({ metrics }) => metrics.flatMap((metric) => metric.ranks)))].sort((a, b) => a - b);
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

function curveOf(metric: Metric, points: Point[]): Curve {
  const bad = toNumber(metric.first_not_finite);
  const isBad = metric.not_finite > 0 && bad !== null;
  const newest = points.at(-1)!.value!;
  return {
    name: metric.name,
    series: Object.assign(new RunSeries(metric.name), { points }),
    last: Number.isFinite(newest) ? (metric.last ?? newest) : newest,
    least: metric.least,
    greatest: metric.greatest,
    notFinite: isBad ? { step: metric.first_not_finite_step, value: bad } : null,
  };
}

import { toNumber, RunSeries, type Point, type SeriesAnswer } from "../shared/graph/run-series";
import type { RealmEvent } from "../stream/event";

/** The service reads at most so many numbers in one request. */
export const FIELDS_AT_ONCE = 8;
/** What counts, and does not measure. */
const NO_METRICS: ReadonlySet<string> = new Set(["step", "total_steps", "rank", "world_size", "pid", "epoch"]);
const FIRST = ["loss", "eval_loss", "accuracy", "learning_rate", "grad_norm"];

/** The numbers among the details of events, by the names that the API knows them by. */
export function metricNames(events: readonly Pick<RealmEvent, "details">[]): string[] {
  const names = new Set<string>();
  for (const { details } of events) collect(details, "", names);
  return [...names].sort(byImportance);
}

function collect(details: Record<string, unknown>, before: string, names: Set<string>): void {
  for (const [key, value] of Object.entries(details)) {
    if (NO_METRICS.has(key)) continue;
    if (toNumber(value) !== null) names.add(before + key);
    // One object further in, as in {"metrics": {"accuracy": 0.5}}; a dot in its key would not be found again.
    else if (!before && typeof value === "object" && value !== null && !Array.isArray(value) && !key.includes(".")) {
      collect(value as Record<string, unknown>, `${key}.`, names);
    }
  }
}

/** Loss first, then what most people look at, then by name. */
function byImportance(a: string, b: string): number {
  const place = (name: string) => {
    const at = FIRST.indexOf(name);
    if (at >= 0) return at;
    return /(^|[/._])loss$/.test(name) ? 0.5 : FIRST.length;
  };
  return place(a) - place(b) || a.localeCompare(b, undefined, { numeric: true });
}

/** A name as the parameter `fields` takes it; see "Names of details" in docs/http-api.md. */
export function fieldOf(name: string): string {
  return /[:,]/.test(name) || name.startsWith('"') ? JSON.stringify(name) : name;
}

export interface MetricGroup {
  /** Empty for names without a prefix. */
  prefix: string;
  names: string[];
}

/** Names by what stands before their first slash or dot; those without come first. */
export function grouped(names: readonly string[]): MetricGroup[] {
  const groups = new Map<string, string[]>([["", []]]);
  for (const name of names) {
    const prefix = /^([^/.]+)[/.]./.exec(name)?.[1] ?? "";
    groups.set(prefix, [...(groups.get(prefix) ?? []), name]);
  }
  return [...groups].filter(([, members]) => members.length).map(([prefix, members]) => ({ prefix, names: members }));
}

/** One number of a run over its steps. */
export interface Curve {
  name: string;
  series: RunSeries;
  last: number;
  least: number | null;
  greatest: number | null;
  /** The first value that is not finite, and its step. */
  notFinite: { step: number | null; value: number } | null;
}

/** The curves of an answer; of numbers that it has no value of there is none. */
export function curvesOf(answer: SeriesAnswer, names: readonly string[]): Curve[] {
  return names.flatMap((name, place) => {
    const points = pointsOf(answer, place);
    return points.length ? [curveOf(name, points)] : [];
  });
}

function pointsOf(answer: SeriesAnswer, place: number): (Point & { value: number })[] {
  return answer.points.flatMap(([, ms, step, ...values]) => {
    const value = toNumber(values[place]);
    if (value === null) return [];
    const at = toNumber(step);
    return [{ step: at ?? Number.NaN, timeMs: ms, loss: null, learningRate: null, speed: null, value }];
  });
}

function curveOf(name: string, points: (Point & { value: number })[]): Curve {
  const series = new RunSeries(name);
  series.points = points;
  const finite = points.map((point) => point.value).filter(Number.isFinite);
  const bad = points.find((point) => !Number.isFinite(point.value));
  return {
    name,
    series,
    last: points.at(-1)!.value,
    least: finite.length ? finite.reduce((a, b) => Math.min(a, b)) : null,
    greatest: finite.length ? finite.reduce((a, b) => Math.max(a, b)) : null,
    notFinite: bad ? { step: Number.isNaN(bad.step) ? null : bad.step, value: bad.value } : null,
  };
}

/** Whether a curve can be drawn over steps: some numbers, such as those of the machine, have none. */
export function hasSteps({ series }: Curve): boolean {
  return series.points.every((point) => !Number.isNaN(point.step));
}

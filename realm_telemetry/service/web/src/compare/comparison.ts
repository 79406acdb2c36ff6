import { linesOf, type Series, type Totals } from "../shared/curves";
import { exactText } from "../shared/exact-json";
import { toNumber, type RunSeries } from "../shared/graph/run-series";
import type { RunSummary } from "../shared/run";

/** The settings that are not the same in all runs; `has` tells a missing one from null. */
interface Settings {
  different: { name: string; values: unknown[]; has: boolean[] }[];
  same: number;
}

/** `GET /api/compare` with names; docs/http-api.md has all of it. */
export interface Comparison {
  runs: (RunSummary & { started_ms: number; building: { done: number } | null })[];
  config: Settings;
  /** In the order to draw; `runs` in the order of the runs. */
  metrics: { name: string; prefix: string; label: string; axis: "step" | "time"; runs: (Totals | null)[] }[];
  series: (Series & { run_id: string })[];
  /** Runs that there are not; absent where the service is older. */
  missing?: { run_id: string; message: string }[];
}

/** A number that several runs report. */
export interface Overlay {
  name: string;
  prefix: string;
  label: string;
  hasSteps: boolean;
  /** One for each run that has it, named by the run. */
  lines: RunSeries[];
  /** Of each run the last value; null where it has none. */
  last: (number | null)[];
}

/** The lines of each number, over each other; numbers without a point are left out. */
export function overlaysOf({ runs, metrics, series }: Comparison): Overlay[] {
  const byName = new Map<string, Comparison["series"]>();
  for (const one of series) byName.set(one.name, [...(byName.get(one.name) ?? []), one]);
  return metrics.flatMap(({ name, prefix, label, axis, runs: totals }) => {
    const own = byName.get(name) ?? [];
    const lines = runs.flatMap(({ run_id, started_ms }) =>
      linesOf(own.filter((one) => one.run_id === run_id), () => run_id).map((line) => Object.assign(line, { startMs: started_ms })),
    );
    const newest = new Map(lines.map((line) => [line.id, line.points.at(-1)!.value!]));
    const last = runs.map(({ run_id }, index) => lastOf(newest.get(run_id), totals[index] ?? null));
    return lines.length ? [{ name, prefix, label, hasSteps: axis === "step", lines, last }] : [];
  });
}

/** The newest value where it is none, else the last of all. */
function lastOf(newest: number | undefined, totals: Totals | null): number | null {
  if (newest === undefined) return null;
  return Number.isFinite(newest) ? (toNumber(totals?.last) ?? newest) : newest;
}

/** A setting and its value in each run, as text; null where a run has no such setting. */
export interface Difference {
  name: string;
  values: (string | null)[];
}

/** The settings in which so many runs differ, by name; and how many are the same in all. Objects are compared entry by entry. */
export function differencesOf(config: Settings, runs: number): { different: Difference[]; same: number } {
  const flat = Array.from({ length: runs }, (_, run) => {
    const own = config.different.filter(({ has }) => has[run]).map(({ name, values }) => [name, values[run]]);
    return flattened(Object.fromEntries(own) as Record<string, unknown>);
  });
  const names = [...new Set(flat.flatMap((one) => [...one.keys()]))].sort();
  const rows = names.map((name) => ({ name, values: flat.map((one) => one.get(name) ?? null) }));
  const different = rows.filter(({ values }) => new Set(values).size > 1);
  return { different, same: config.same + rows.length - different.length };
}

function flattened(config: Record<string, unknown>, before = "", into = new Map<string, string>()): Map<string, string> {
  for (const [key, value] of Object.entries(config)) {
    const isTree = typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
    if (isTree) flattened(value as Record<string, unknown>, `${before}${key}.`, into);
    else into.set(before + key, typeof value === "string" ? value : exactText(value));
  }
  return into;
}

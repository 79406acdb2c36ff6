import { linesOf, type Series, type Totals } from "../shared/curves";
import { toNumber, type RunSeries } from "../shared/graph/run-series";
import type { RunSummary } from "../shared/run";
import type { Settings } from "../shared/settings";

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

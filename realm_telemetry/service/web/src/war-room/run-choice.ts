import type { Courses } from "./runs";
import type { RunState } from "./state";

const LISTED_RUNS = 8;
const SHOWN_RUNS = 4;

/** A run that can be shown or left out. */
export interface LegendRun {
  id: string;
  shown: boolean;
}

/** Which runs are on the graph: the newest and those that run, unless somebody chose otherwise. */
export class RunChoice {
  private readonly chosen = new Map<string, boolean>();

  constructor(private readonly courses: Courses) {}

  /** runs: as the state knows them, newest first; those that only the stream knows stand in front. */
  legend(runs: readonly RunState[]): LegendRun[] {
    const known = new Set(runs.map((run) => run.run_id));
    const unknown = this.courses.newerThan(known, Date.parse(runs[0]?.step_at ?? ""));
    const usual = new Set([...atWork(runs).map((run) => run.run_id), ...unknown]);
    return [...unknown, ...known]
      .slice(0, LISTED_RUNS)
      .map((id) => ({ id, shown: this.chosen.get(id) ?? usual.has(id) }));
  }

  toggle(id: string, runs: readonly RunState[]): void {
    const run = this.legend(runs).find((one) => one.id === id);
    if (run) this.chosen.set(id, !run.shown);
  }
}

/** The newest run and all others that run. */
export function atWork(runs: readonly RunState[]): RunState[] {
  return runs.filter((run, index) => index === 0 || run.status === "running").slice(0, SHOWN_RUNS);
}

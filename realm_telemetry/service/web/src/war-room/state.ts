import { getJson } from "../shared/api";

/** The parts of RealmState that the page shows; docs/state.md has them all. */
export interface RunState {
  run_id: string;
  status: string;
  step: number | null;
  total_steps: number | null;
  loss: unknown;
  best_loss: number | null;
  learning_rate: number | null;
  progress: number | null;
  started_at: string | null;
  step_at: string | null;
  model: string | null;
  error: string | null;
  hero_id: string | null;
  campaign_id: string | null;
  producer: string | null;
}

export interface JobState {
  job_id: string;
  status: string;
  job_type: string | null;
  worker_id: string | null;
  duration_s: number | null;
  error: string | null;
  started_at: string | null;
}

export interface WorkerState {
  worker_id: string;
  role: string | null;
  device: string | null;
  status: string;
  current_job: string | null;
  rank: number | string | null;
  host: string | null;
  age_s: number | null;
  lost: boolean;
  stale: boolean;
  producer: string | null;
}

export interface EvalState {
  skill: string | null;
  level: number | string | null;
  accuracy: number | null;
  delta: number | null;
  step: number | null;
  completed_at: string | null;
}

export interface CheckpointState {
  step: number | null;
  loss: number | null;
  accuracy: number | null;
  path: string | null;
  promoted_at: string | null;
}

export interface TitleState {
  hero_id: string | null;
  title: string | null;
  earned_at: string | null;
}

export interface RealmState {
  training: RunState & { runs: Record<string, RunState> };
  jobs: { jobs: Record<string, JobState>; counts: Record<string, number> };
  workers: Record<string, WorkerState>;
  eval: { latest: Record<string, EvalState> };
  checkpoints: { champion: CheckpointState | null; best: CheckpointState | null };
  guild: { titles: TitleState[] };
  system: { counts: { by_severity: Record<string, number>; events: number } };
}

export interface StateAnswer {
  state: RealmState;
  cursor: number;
  timestamp: string;
}

export interface Receipt {
  producer: string;
  emitted: number | null;
  stored: number;
  dropped: number;
  ended: boolean;
  complete: boolean;
  clock_offset_ns?: number;
}

export const getState = () => getJson<StateAnswer>("api/state");
export const getReceipts = async () =>
  (await getJson<{ receipts: Receipt[] }>("api/receipts")).receipts;

export interface ReceiptSum {
  emitted: number;
  stored: number;
  dropped: number;
  /** Producers that have not said how many they emitted. */
  open: number;
  complete: boolean;
}

/** All receipts as one line. */
export function sumReceipts(receipts: readonly Receipt[]): ReceiptSum {
  const sum: ReceiptSum = { emitted: 0, stored: 0, dropped: 0, open: 0, complete: true };
  for (const one of receipts) {
    sum.stored += one.stored;
    sum.dropped += one.dropped;
    sum.emitted += one.emitted ?? one.stored;
    if (one.emitted === null) sum.open += 1;
    else if (!one.complete) sum.complete = false;
  }
  return sum;
}

/** Seconds until a run is done at the pace so far; null while nobody can tell. */
export function etaSeconds(run: RunState, nowMs: number): number | null {
  const { step, total_steps: total, started_at: started, step_at: last } = run;
  if (!step || !total || !started || run.status !== "running") return null;
  const spent = (last ? Date.parse(last) : nowMs) - Date.parse(started);
  return spent > 0 ? ((total - step) * spent) / step / 1_000 : null;
}

/** A worker's status at a moment: its age goes on between two answers. */
export function workerStatus(worker: WorkerState, ageS: number | null): string {
  if (worker.lost) return "lost";
  if (worker.status === "left" || ageS === null) return worker.status;
  return ageS > 60 ? "stale" : worker.status;
}

export function toPercent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

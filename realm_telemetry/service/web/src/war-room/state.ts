import type { ReactiveController, ReactiveControllerHost } from "lit";
import { getJson } from "../shared/api";
import type { Point } from "../shared/graph/run-series";
import { getRuns, isSilent, type RunSummary } from "../shared/run";
import type { RealmEvent } from "../stream/event";

/** The pace is measured over this many of the last points. */
const PACE_POINTS = 60;
/** How long to wait between two requests for the state. */
const PAUSE_MS = { soon: 2_000, later: 5_000, eventually: 10_000 } as const;
const HIDDEN_MS = 15_000;
const NEWEST_RUNS = "100";
const TICK_MS = 1_000;

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

interface EvalState {
  skill: string | null;
  level: number | string | null;
  accuracy: number | null;
  delta: number | null;
  step: number | null;
  completed_at: string | null;
}

interface CheckpointState {
  step: number | null;
  loss: number | null;
  accuracy: number | null;
  path: string | null;
  promoted_at: string | null;
}

interface GuildState {
  heroes: Record<string, { name: string | null; title: string | null; level: number | string | null; xp: number | string | null }>;
  /** By hero, then by skill. */
  skills: Record<string, Record<string, { level: number | string | null }>>;
  titles: { hero_id: string | null; title: string | null }[];
  achievements: { hero_id: string | null; name: string | null }[];
  milestones: { campaign_id: string | null; milestone: string | null; step: number | null }[];
}

export interface RealmState {
  training: RunState & { runs: Record<string, RunState> };
  jobs: { jobs: Record<string, JobState>; counts: Record<string, number> };
  workers: Record<string, WorkerState>;
  eval: { latest: Record<string, EvalState> };
  checkpoints: { champion: CheckpointState | null; best: CheckpointState | null };
  guild: GuildState;
  system: { counts: { by_severity: Record<string, number>; events: number } };
}

interface StateAnswer {
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
  /** Add this to the producer's times to get times of the log's host. */
  clock_offset_ns: number;
}

const getState = () => getJson<StateAnswer>("api/state");
const getReceipts = async () =>
  (await getJson<{ receipts: Receipt[] }>("api/receipts")).receipts;

/** A run updated with what the stream has delivered since the state was read. */
export function liveRun(run: RunState, last: Point | undefined): RunState {
  if (!last || (run.step_at && last.timeMs <= Date.parse(run.step_at))) return run;
  return {
    ...run,
    step: last.step,
    loss: last.loss ?? run.loss,
    learning_rate: last.learningRate ?? run.learning_rate,
    progress: run.total_steps ? Math.min(last.step / run.total_steps, 1) : run.progress,
    step_at: new Date(last.timeMs).toISOString(),
  };
}

/** Seconds until a run is done; null where that is not known, or no step has come for long. */
export function etaSeconds(run: RunState, nowMs: number, points: readonly Point[] = []): number | null {
  const { step, total_steps: total, step_at: last } = run;
  if (!step || !total || run.status !== "running") return null;
  const pace = stepSeconds(run, step, nowMs, points);
  return pace === null || isSilent(last, pace, nowMs) ? null : Math.max(0, (total - step) * pace);
}

/** How long a step takes: as the last ones if they are known, else as those since the start. */
function stepSeconds({ started_at: started, step_at: last }: RunState, step: number, nowMs: number, points: readonly Point[]): number | null {
  const recent = points.slice(-PACE_POINTS);
  const [first, newest] = [recent[0], recent.at(-1)];
  if (first && newest && newest.step > first.step && newest.timeMs > first.timeMs) {
    return (newest.timeMs - first.timeMs) / (newest.step - first.step) / 1_000;
  }
  const spent = (last ? Date.parse(last) : nowMs) - Date.parse(started ?? "");
  return spent > 0 ? spent / step / 1_000 : null;
}

/** A worker's status now: its age grows between two requests for the state. */
export function workerStatus(worker: WorkerState, ageS: number | null): string {
  if (worker.lost) return "lost";
  if (worker.status === "left" || ageS === null) return worker.status;
  return ageS > 60 ? "stale" : worker.status;
}

export function toPercent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Whether something runs that sends events every few seconds. */
export function expectsEvents(state: RealmState): boolean {
  const runs = Object.values(state.training.runs).some((run) => run.status === "running");
  return runs || Object.values(state.workers).some((worker) => !worker.lost && worker.status !== "left");
}

type Urgency = keyof typeof PAUSE_MS;

/** When to request the state again: only after new events, and at most every few seconds. */
export class Refresh {
  private wanted: Urgency | null = null;
  private beganMs = -Infinity;

  want(urgency: Urgency): void {
    if (this.wanted === null || PAUSE_MS[urgency] < PAUSE_MS[this.wanted]) this.wanted = urgency;
  }

  began(nowMs: number): void {
    this.wanted = null;
    this.beganMs = nowMs;
  }

  due(nowMs: number, hidden: boolean): boolean {
    if (this.wanted === null) return false;
    const pause = hidden ? HIDDEN_MS : PAUSE_MS[this.wanted];
    return nowMs - this.beganMs >= pause;
  }
}

/** The latest RealmState and receipts; requested again after new events. */
export class LatestState implements ReactiveController {
  receipts: readonly Receipt[] = [];
  /** The newest runs, by their ids: what became of them is known there first. */
  summaries: ReadonlyMap<string, RunSummary> = new Map();
  /** When the ages in it were read; they grow from there. */
  answeredMs = Date.now();
  /** Settled after the first response or failure. */
  loaded: Promise<void> = Promise.resolve();
  private answer: StateAnswer | null = null;
  private readonly refreshing = new Refresh();
  private timer: ReturnType<typeof setInterval> | undefined;

  /** ready: whether a request makes sense now. */
  constructor(
    host: ReactiveControllerHost,
    private readonly ready: () => boolean,
    private readonly answered: () => void,
    private readonly failed: (error: unknown) => void,
  ) {
    host.addController(this);
  }

  hostConnected(): void {
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.loaded = this.refresh();
  }

  hostDisconnected(): void {
    clearInterval(this.timer);
  }

  get realm(): RealmState | undefined {
    return this.answer?.state;
  }

  /** All runs, newest first. */
  get runs(): readonly RunState[] {
    return Object.values(this.realm?.training.runs ?? {}).map((run) => this.knownOf(run));
  }

  /** A run that stalled, is lost or was killed has said nothing of it, and would be running for ever. */
  private knownOf(run: RunState): RunState {
    const status = this.summaries.get(run.run_id)?.status;
    return status === undefined || run.status !== "running" ? run : { ...run, status };
  }

  get expectsEvents(): boolean {
    return this.realm !== undefined && expectsEvents(this.realm);
  }

  /** The worker id of each producer. */
  get workerOf(): ReadonlyMap<string, string> {
    const workers = Object.values(this.realm?.workers ?? {});
    return new Map(workers.map((one) => [one.producer ?? "", one.worker_id]));
  }

  want(urgency: Urgency): void {
    this.refreshing.want(urgency);
  }

  private tick(): void {
    if (this.refreshing.due(Date.now(), document.hidden) && this.ready()) void this.refresh();
  }

  private async refresh(): Promise<void> {
    this.refreshing.began(Date.now());
    try {
      const [answer, receipts, { runs }] = await Promise.all([getState(), getReceipts(), getRuns({ limit: NEWEST_RUNS })]);
      this.answer = answer;
      this.receipts = receipts;
      this.summaries = new Map(runs.map((run) => [run.run_id, run]));
      this.answeredMs = Date.now();
      if (this.receipts.some((one) => one.emitted === null)) this.want("eventually");
      this.answered();
    } catch (error) {
      this.want("soon");
      this.failed(error);
    }
  }
}

const KEPT = 20;
const BEHIND_S = 1;
const AHEAD_S = -0.05;
const TOLERATED_OFFSET_NS = 5e7;

/**
 * The offsets of the workers' clocks, estimated from their heartbeats.
 *
 * A heartbeat's delay is the clock's offset plus the time on the network. So the least delay of the
 * last few is the offset, to a few milliseconds; a negative one means that the clock is ahead.
 */
export class WorkerClocks {
  private readonly delays = new Map<string, number[]>();

  heard(event: RealmEvent): void {
    const worker = event.details["worker_id"];
    if (event.kind !== "worker_heartbeat" || typeof worker !== "string" || !event.observed_unix_nano) return;
    const delayS = Number(BigInt(event.observed_unix_nano) - BigInt(event.time_unix_nano)) / 1e9;
    const delays = [...(this.delays.get(worker) ?? []), delayS].slice(-KEPT);
    this.delays.set(worker, delays);
    if (this.delays.size > 512) this.delays.delete(this.delays.keys().next().value!);
  }

  /** Seconds that a worker's clock is behind (negative: ahead); 0 if it is right, null if unknown. */
  offset(worker: string): number | null {
    const delays = this.delays.get(worker);
    if (!delays) return null;
    const least = Math.min(...delays);
    return least > BEHIND_S || least < AHEAD_S ? least : 0;
  }
}

/** Seconds that a worker's clock is behind, from its heartbeats or else its receipt; 0 if it is right. */
export function clockOffset(
  worker: Pick<WorkerState, "worker_id" | "producer">,
  { receipts, clocks }: { receipts: readonly Receipt[]; clocks: WorkerClocks },
): number {
  const reported = receipts.find((one) => one.producer === worker.producer)?.clock_offset_ns ?? 0;
  return clocks.offset(worker.worker_id) ?? (Math.abs(reported) > TOLERATED_OFFSET_NS ? reported / 1e9 : 0);
}

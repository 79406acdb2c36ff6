import { RunSeries, type Point } from "../shared/graph/run-series";
import type { RankState, Run } from "../shared/run";
import type { RealmEvent } from "../stream/event";

/** What the page of components shows. */
export const NOW_MS = Date.parse("2026-11-28T12:00:00Z");

const at = (secondsAgo: number) => new Date(NOW_MS - secondsAgo * 1_000).toISOString();

const TRACEBACK = `Traceback (most recent call last):
  File "/home/ada/lab/train.py", line 61, in main
    trainer.fit(model, loader)
  File "/opt/venv/lib/python3.12/site-packages/lightning/trainer.py", line 540, in fit
    call._call_and_handle_interrupt(self, self._fit_impl)
  File "/home/ada/lab/data.py", line 31, in __getitem__
    return self.tokens[index]
IndexError: index 4096 is out of bounds for axis 0 with size 4096
`;

const rank = (number: number, status: string): RankState => ({
  producer: number.toString(16).padStart(16, "0"),
  status,
  reason: null,
  step: 600 - (number % 7 === 3 ? 12 : number % 3),
  host: `gpu-${number % 4}`,
  started_at: at(900),
  last_seen_at: at(300),
  ended_at: at(300),
});

/** A run that failed, with all that a run can have. */
export const FAILED: Run = {
  run_id: "gpt-small-lr6e-4",
  status: "failed",
  reason: "IndexError: index 4096 is out of bounds for axis 0 with size 4096",
  health: null,
  first_failed_rank: 1,
  started_at: at(900),
  ended_at: at(300),
  last_event_at: at(300),
  duration_s: 600,
  step: 600,
  total_steps: 1_000,
  progress: 0.6,
  loss: 2.616,
  best_loss: 2.468,
  peak_rss_bytes: 12 * 2 ** 30,
  steps_per_second: 1,
  attempts: 2,
  processes: 2,
  world_size: 2,
  hosts: ["gpu-0", "gpu-1"],
  last_checkpoint: null,
  last_finite_checkpoint: null,
  last_good_checkpoint: { step: 600, path: "/ckpt/600.pt", loss: 2.6, saved_at: at(310), size_bytes: 1_024, verified: true, check: "there with its recorded size" },
  resume: { command: "python train.py --lr 6e-4", cwd: "/home/ada/lab", framework: null, code: null, note: "The original command: whether it goes on from the checkpoint is up to the program." },
  command: "python train.py --lr 6e-4",
  cwd: "/home/ada/lab",
  git_commit: "4f2a91c",
  python: "3.12.4",
  launcher: "none",
  scheduler_job_id: null,
  exception: {
    error: "index 4096 is out of bounds for axis 0 with size 4096",
    error_type: "IndexError",
    thread: "MainThread",
    rank: 1,
    at: at(300),
    traceback: TRACEBACK,
    seen: { times: 4, runs: 2, days: 7, at_least: false, query: "kind=uncaught_exception" },
  },
  warnings: { not_finite: null, spikes: 1, stalls: 0 },
  counts: { events: 1_200, warnings: 1, errors: 2 },
  ranks: { 0: rank(0, "failed"), 1: rank(1, "failed") },
  config: { lr: 6e-4, batch_size: 64 },
  evidence: { exception: "IndexError" },
};

export const MANY_RANKS: Run = {
  ...FAILED,
  status: "running",
  health: "63 of 64 ranks",
  first_failed_rank: null,
  ranks: Object.fromEntries(Array.from({ length: 64 }, (_, number) => [number, rank(number, number === 20 ? "lost" : "running")])),
};

const point = (step: number, value: number): Point => ({ step, timeMs: NOW_MS + step * 1_000, loss: null, learningRate: null, speed: null, value });

/** Two lines, one of which is NaN for a while. */
export const CURVES = ["first", "second"].map((id, run) =>
  Object.assign(new RunSeries(id), {
    points: Array.from({ length: 100 }, (_, step) => point(step, run && step > 60 && step < 70 ? Number.NaN : 8 / (1 + step / (10 + 10 * run)))),
  }),
);

const event = (number: number, kind: string, secondsAgo: number, details: Record<string, unknown> = {}): RealmEvent => ({
  id: number.toString(16).padStart(32, "0"),
  cursor: number,
  kind,
  channel: "training",
  severity: kind === "run_ended" ? "error" : "info",
  message: kind,
  details,
  timestamp: at(secondsAgo),
  time_unix_nano: String(BigInt(NOW_MS - secondsAgo * 1_000) * 1_000_000n),
  observed_unix_nano: null,
  producer: "00000000000000aa",
  number,
  run_id: FAILED.run_id,
  rank: 0,
  hero_id: null,
  campaign_id: null,
  source: null,
  trace_id: null,
  span_id: null,
  trace_flags: 0,
  icon: "",
  late: false,
});

export const EVENTS: RealmEvent[] = [
  event(1, "run_started", 900),
  event(2, "checkpoint_saved", 700),
  event(3, "evaluation_started", 690),
  event(4, "evaluation_finished", 640),
  event(5, "run_stalled", 560, { silent_s: 40 }),
  event(6, "run_resumed_progress", 530),
  event(7, "run_ended", 300, { status: "failed" }),
];

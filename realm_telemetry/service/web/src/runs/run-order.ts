import { commandText, isOpen, type RunSummary } from "../shared/run";

/** How the list is sorted; the usual order is: open runs first, then the newest. */
export type Column = "usual" | "status" | "name" | "tags" | "started" | "duration" | "step" | "loss" | "best" | "checkpoint" | "ranks" | "host";

export interface Order {
  /** A Column, or the column of a number: see columns.ts. */
  column: string;
  descending: boolean;
}

export const USUAL: Order = { column: "usual", descending: true };

type Value = number | string | null;

/** What a column is called and sorts by, and whether the greatest comes first at the first click. */
export interface ColumnLook {
  label: string;
  value: (run: RunSummary) => Value;
  descending: boolean;
}

/** Worst first. */
const WORST = [
  "out_of_memory", "crashed", "failed", "killed", "lost", "stalled", "terminated", "preempted", "paused", "running",
  "cancelled", "completed",
];

export const COLUMNS: Readonly<Record<Column, ColumnLook>> = {
  usual: { label: "Open first, then newest", value: startedMs, descending: true },
  status: { label: "Status", value: (run) => WORST.indexOf(run.status), descending: false },
  name: { label: "Run", value: (run) => natural(run.run_id), descending: false },
  tags: { label: "Tags", value: (run) => (run.tags?.length ? natural(run.tags.join(", ")) : null), descending: false },
  started: { label: "Started", value: startedMs, descending: true },
  duration: { label: "Duration", value: (run) => run.duration_s, descending: true },
  step: { label: "Step", value: (run) => run.step, descending: true },
  loss: { label: "Loss", value: (run) => finite(run.loss), descending: false },
  best: { label: "Best loss", value: (run) => finite(run.best_loss), descending: false },
  checkpoint: { label: "Checkpoint", value: (run) => run.last_checkpoint?.step ?? null, descending: true },
  ranks: { label: "Ranks", value: (run) => run.world_size ?? run.processes, descending: true },
  host: { label: "Host", value: (run) => (run.hosts[0] === undefined ? null : natural(run.hosts[0])), descending: false },
};

function startedMs(run: RunSummary): number {
  return Date.parse(run.started_at ?? "") || 0;
}

/** NaN and infinities are words here, and stand behind all numbers. */
export function finite(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** A text by which "run-9" comes before "run-10". A collator would know too, and be ten times slower. */
function natural(text: string): string {
  return text.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(16, "0"));
}

/** Runs in an order. Those without a value of the column are last, either way round. */
export function sorted(runs: readonly RunSummary[], order: Order, value: ColumnLook["value"] = COLUMNS[order.column as Column].value): RunSummary[] {
  const sign = order.descending ? -1 : 1;
  const keyed = runs.map((run) => ({
    run,
    open: order.column === "usual" && isOpen(run.status) ? 0 : 1,
    key: value(run),
    started: startedMs(run),
  }));
  keyed.sort((a, b) => a.open - b.open || compare(a.key, b.key, sign) || b.started - a.started);
  return keyed.map(({ run }) => run);
}

function compare(a: Value, b: Value, sign: number): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return a < b ? -sign : a > b ? sign : 0;
}

/** What can be wrong with a run whatever its status is. */
export const WARNINGS: Readonly<Record<string, { label: string; meaning: string; has: (run: RunSummary) => boolean }>> = {
  not_finite: { label: "NaN or infinite", meaning: "A number was not finite; what is trained from there on is lost", has: ({ warnings }) => warnings.not_finite !== null },
  spikes: { label: "Loss spiked", meaning: "The loss rose far above its usual values", has: ({ warnings }) => warnings.spikes > 0 },
  stalls: { label: "Was stalled", meaning: "It made no progress for a while", has: ({ warnings }) => warnings.stalls > 0 },
};

export interface Choice {
  /** Empty for all. */
  status: string;
  /** A name of WARNINGS; empty for all. */
  warning: string;
  /** Words that must all occur, in any case. */
  text: string;
}

/** Runs that have a status, a warning, and all words in their name, reason, command, host, tags or exception. */
export function chosen(runs: readonly RunSummary[], { status, warning, text }: Choice): RunSummary[] {
  const words = wordsOf(text);
  const warns = WARNINGS[warning]?.has ?? (() => true);
  return runs.filter((run) => (!status || run.status === status) && warns(run) && hasWords(run, words));
}

export function wordsOf(text: string): string[] {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

function hasWords(run: RunSummary, words: readonly string[]): boolean {
  if (!words.length) return true;
  const all = [run.run_id, run.reason, commandText(run), run.git_commit, run.exception?.error, ...run.hosts, ...(run.tags ?? [])];
  const text = all.filter(Boolean).join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** How many runs have each status. */
export function countsOf(runs: readonly RunSummary[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const run of runs) counts.set(run.status, (counts.get(run.status) ?? 0) + 1);
  return counts;
}

import { html, type TemplateResult } from "lit";
import { getEvents, getListed } from "./api";
import { formatCount, formatNumber } from "./format";
import type { Severity } from "../stream/event";

export interface Checkpoint {
  step: number | null;
  path: string | null;
  loss: unknown;
  saved_at: string | null;
}

export interface RunException {
  error: string | null;
  error_type: string | null;
  thread: string | null;
  rank: number | null;
  at: string | null;
  traceback?: string | null;
  /** How often it was seen lately; older services do not say it. */
  seen?: { times: number; runs: number; days: number; at_least: boolean; query: string } | null;
}

/** The newest checkpoint from before the first value that was not finite, as the service finds it now. */
export interface GoodCheckpoint extends Checkpoint {
  size_bytes: number | null;
  verified: boolean;
  /** What was found, for people: "not verified from here". */
  check: string;
}

/** How a run that ended is started again. */
export interface Resume {
  command: string | null;
  cwd: string | null;
  framework: string | null;
  code: string | null;
  note: string;
}

/** A run as `GET /api/runs` lists it; docs/state.md has all fields. */
export interface RunSummary {
  run_id: string;
  status: string;
  reason: string | null;
  health: string | null;
  first_failed_rank: number | null;
  started_at: string | null;
  ended_at: string | null;
  last_event_at: string | null;
  duration_s: number;
  step: number | null;
  total_steps: number | null;
  progress: number | null;
  loss: unknown;
  best_loss: unknown;
  peak_rss_bytes: number | null;
  steps_per_second: number | null;
  attempts: number;
  processes: number;
  world_size: number | null;
  hosts: string[];
  last_checkpoint: Checkpoint | null;
  last_finite_checkpoint: Checkpoint | null;
  command: string | string[] | null;
  cwd: string | null;
  git_commit: string | null;
  python: string | null;
  launcher: string | null;
  scheduler_job_id: string | null;
  exception: RunException | null;
  warnings: {
    not_finite: { field: string; step: number | null; value: unknown; at: string | null } | null;
    spikes: number;
    stalls: number;
  };
  counts: { events: number; warnings: number; errors: number };
  campaign_id?: string | null;
  /** Absent where the service is older. */
  tags?: string[];
  /** The last values of the numbers that were asked for, where the run has them; what is not finite is a word. */
  metrics?: Record<string, unknown>;
}

export interface RankState {
  producer: string;
  status: string;
  reason: string | null;
  step: number | null;
  host: string | null;
  started_at: string | null;
  last_seen_at: string | null;
  ended_at: string | null;
}

/** A run as `GET /api/runs/{id}` answers it. */
export interface Run extends RunSummary {
  ranks: Record<string, RankState>;
  config: Record<string, unknown>;
  evidence: unknown;
  /** Absent where the service is older. */
  last_good_checkpoint?: GoodCheckpoint | null;
  resume?: Resume | null;
}

export interface RunsPage {
  runs: RunSummary[];
  /** The parameters of the next page; null after the last. */
  next: URLSearchParams | null;
}

export async function getRuns(
  params: URLSearchParams | Record<string, string>,
  signal?: AbortSignal,
): Promise<RunsPage> {
  const { found, next } = await getListed<{ runs: RunSummary[] }>("api/runs", params, signal);
  return { runs: found.runs, next };
}

/** The path of a run in the API. */
export function runPath(id: string): string {
  return `api/runs/${encodeURIComponent(id.toWellFormed())}`;
}

/** All of a run; integers of its configuration are exact. */
export function getRun(id: string): Promise<Run> {
  return getEvents<Run>(runPath(id));
}

interface StatusLook {
  icon: string;
  label: string;
  severity: Severity;
  /** What it means, for those who see the word for the first time. */
  meaning: string;
}

/** What a run can be. Those that can still go on come first, then the bad ends. */
export const STATUSES: Readonly<Record<string, StatusLook>> = {
  running: { icon: "▸", label: "Running", severity: "info", meaning: "It is training." },
  stalled: { icon: "!", label: "Stalled", severity: "warning", meaning: "Its processes live, but it makes no progress." },
  paused: { icon: "‖", label: "Paused", severity: "warning", meaning: "The program says that it is paused." },
  failed: { icon: "✕", label: "Failed", severity: "error", meaning: "It ended with an exception or an exit code." },
  crashed: { icon: "✕", label: "Crashed", severity: "error", meaning: "A fatal signal, such as a segmentation fault, ended it." },
  out_of_memory: { icon: "✕", label: "Out of memory", severity: "error", meaning: "It was ended because memory ran out." },
  killed: { icon: "✕", label: "Killed", severity: "error", meaning: "A signal from outside ended it." },
  lost: { icon: "?", label: "Lost", severity: "error", meaning: "It is gone, and nothing says how it ended." },
  terminated: { icon: "!", label: "Terminated", severity: "warning", meaning: "The scheduler or somebody asked it to end." },
  preempted: { icon: "!", label: "Preempted", severity: "warning", meaning: "The scheduler took its place away." },
  cancelled: { icon: "–", label: "Cancelled", severity: "info", meaning: "Somebody stopped it." },
  completed: { icon: "✓", label: "Completed", severity: "success", meaning: "It ended as planned." },
};

const UNKNOWN: StatusLook = { icon: "?", label: "", severity: "info", meaning: "" };
const OPEN: ReadonlySet<string> = new Set(["running", "stalled", "paused"]);

export function lookOf(status: string): StatusLook {
  return STATUSES[status] ?? { ...UNKNOWN, label: status };
}

/** Whether a run may still go on. */
export function isOpen(status: string): boolean {
  return OPEN.has(status);
}

/** A status as icon, text and colour: one of them alone does not reach every reader. */
export function statusMark(status: string): TemplateResult {
  const look = lookOf(status);
  return html`<span class="severity run-status ${look.severity}" data-status=${status} title=${look.meaning}
    ><span class="severity-icon" aria-hidden="true">${look.icon}</span>${look.label}</span
  >`;
}

/** Why a run is what it is, in one line; empty if its status says it all. */
export function reasonOf(run: RunSummary): string {
  return run.reason ?? run.exception?.error ?? "";
}

/** "loss was NaN from step 60"; empty if all its numbers were finite. */
export function notFiniteText(run: RunSummary): string {
  const found = run.warnings.not_finite;
  if (!found) return "";
  const where = found.step === null ? "" : ` from step ${formatCount(Number(found.step))}`;
  return `${found.field} was ${String(found.value)}${where}`;
}

/** A number of the log as text; NaN and infinities arrive as words. */
export function numberText(value: unknown): string {
  if (typeof value === "number") return formatNumber(value);
  return value === null || value === undefined ? "–" : String(value);
}

export function stepText(run: Pick<RunSummary, "step" | "total_steps">): string {
  if (run.step === null) return "–";
  const step = formatCount(Number(run.step));
  return typeof run.total_steps === "number" ? `${step} of ${formatCount(run.total_steps)}` : step;
}

/** "7 of 8 ranks", "8 ranks"; empty for a single process. */
export function ranksText(run: RunSummary): string {
  if (run.health) return run.health;
  const size = run.world_size ?? run.processes;
  return size > 1 ? `${formatCount(size)} ranks` : "";
}

export function commandText(run: RunSummary): string {
  return Array.isArray(run.command) ? run.command.join(" ") : (run.command ?? "");
}

const SILENT_S = 120;
const SILENT_STEPS = 5;

/** Whether a run was heard last longer ago than a few of its steps take: nobody knows when it will be done. */
export function isSilent(lastAt: string | null, stepS: number, nowMs: number): boolean {
  return (nowMs - Date.parse(lastAt ?? "")) / 1_000 > Math.max(SILENT_S, SILENT_STEPS * stepS);
}

import { apiUrl } from "../shared/api";
import { plural } from "../shared/format";

const KEY = "realm-last-seen";
const AWAY_MS = 60_000;

export interface AwayItem {
  text: string;
  href: string;
  severity: "error" | "warning" | "success";
}

interface KindCount {
  kind: string;
  severity: string;
  count: number;
}

/** When this browser last looked at the page, if that is long ago; null otherwise. */
export function lastSeen(nowMs: number): number | null {
  const stored = Number(localStorage.getItem(KEY));
  return stored && nowMs - stored > AWAY_MS ? stored : null;
}

export function noteSeen(nowMs: number): void {
  localStorage.setItem(KEY, String(nowMs));
}

/** "3 errors, 2 promotions, 1 process lost", each a link to those events. */
export function awayItems(counts: readonly KindCount[], sinceMs: number): AwayItem[] {
  const since = new Date(sinceMs).toISOString();
  const link = (filter: Record<string, string>) =>
    apiUrl("battle-log", { since, ...filter });
  const of = (wanted: (one: KindCount) => boolean) =>
    counts.filter(wanted).reduce((sum, one) => sum + one.count, 0);
  const items: [number, AwayItem["severity"], string, string | undefined, Record<string, string>][] = [
    [of((one) => one.severity === "error"), "error", "error", undefined, { severity: "error" }],
    [of((one) => one.kind === "process_lost"), "error", "process lost", "processes lost", { kind: "process_lost" }],
    [of((one) => one.kind === "job_failed"), "error", "job failed", "jobs failed", { kind: "job_failed" }],
    [of((one) => one.severity === "warning"), "warning", "warning", undefined, { severity: "warning" }],
    [of((one) => one.kind === "checkpoint_promoted"), "success", "promotion", undefined, { kind: "checkpoint_promoted" }],
    [of((one) => one.kind === "training_completed"), "success", "run completed", "runs completed", { kind: "training_completed" }],
  ];
  return items
    .filter(([count]) => count > 0)
    .map(([count, severity, one, many, filter]) => ({ text: plural(count, one, many), href: link(filter), severity }));
}

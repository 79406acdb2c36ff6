import { plural } from "../shared/format";
import type { RealmEvent, Severity } from "../stream/event";
import { eventHref, logHref } from "./links";

const KEY = "realm-last-seen";
const AWAY_MS = 60_000;
const NAMED = 3;

export interface AwayItem {
  text: string;
  href: string;
  severity: Severity;
}

export interface KindCount {
  kind: string;
  severity: string;
  count: number;
}

/** When somebody last looked at the page in this browser, if that is long ago; null otherwise. */
export function lastSeen(nowMs: number): number | null {
  const stored = Number(localStorage.getItem(KEY));
  return stored && nowMs - stored > AWAY_MS ? stored : null;
}

export function noteSeen(nowMs: number): void {
  localStorage.setItem(KEY, String(nowMs));
}

interface Rule {
  severity: Severity;
  one: string;
  many: string;
  filter: { kind: string } | { severity: string };
}

const RULES: readonly Rule[] = [
  { severity: "error", one: "error", many: "errors", filter: { severity: "error" } },
  { severity: "error", one: "job failed", many: "jobs failed", filter: { kind: "job_failed" } },
  { severity: "error", one: "run failed", many: "runs failed", filter: { kind: "training_failed" } },
  { severity: "warning", one: "warning", many: "warnings", filter: { severity: "warning" } },
  { severity: "success", one: "promotion", many: "promotions", filter: { kind: "checkpoint_promoted" } },
  { severity: "success", one: "run completed", many: "runs completed", filter: { kind: "training_completed" } },
];

/** "3 errors", "2 promotions", each a link to those events. */
export function awayItems(counts: readonly KindCount[], sinceMs: number): AwayItem[] {
  const since = new Date(sinceMs).toISOString();
  return RULES.flatMap(({ severity, one, many, filter }) => {
    const fits = (count: KindCount) =>
      "kind" in filter ? count.kind === filter.kind : count.severity === filter.severity;
    const total = counts.filter(fits).reduce((sum, count) => sum + count.count, 0);
    return total ? [{ text: plural(total, one, many), href: logHref({ since, ...filter }), severity }] : [];
  });
}

/** "scout-1 lost": who is gone, by name, each a link to the event that says so. */
export function lostItems(events: readonly RealmEvent[], workerOf: ReadonlyMap<string, string>): AwayItem[] {
  return events.slice(0, NAMED).map((event) => {
    const named = event.details["worker_id"] ?? workerOf.get(event.producer) ?? event.details["service"];
    const word = event.kind === "worker_stale" ? "stale" : "lost";
    const text = typeof named === "string" ? `${named.slice(0, 60)} ${word}` : `a process ${word}`;
    return { text, href: eventHref(event), severity: event.severity };
  });
}

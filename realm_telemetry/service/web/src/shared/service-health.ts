import { plural } from "./format";

export type Level = "ok" | "warning" | "problem";

export interface Check {
  check: string;
  level: Level;
  message: string;
  fix: string;
}

/** What `GET /api/health` answers; null is what could not be looked at. */
export interface Health {
  status: Level;
  checks: Check[];
  service: { version: string; host: string; address: string; started_at: string | null; streams: number };
  log: {
    place: string;
    log_id: string | null;
    cursor: number | null;
    size_bytes: number | null;
    disk_free_bytes: number | null;
    disk_total_bytes: number | null;
    keeps_days: number | null;
    keeps_bytes: number | null;
  };
  exporters: { name: string; of: string; behind: number; problem: string }[];
  shippers: { pipeline: string; running: boolean; pid: number | null; programs: number; waiting: number; dropped: number; problem: string }[];
  hosts: { host: string; status: string; age_s: number; runs: { run_id: string }[] }[];
  receipts: { producers: number; live: number; emitted: number; stored: number; stored_so_far: number; dropped: number; incomplete: number } | null;
}

/** "1 problem and 2 warnings"; empty if all is well. */
export function healthText({ checks }: Pick<Health, "checks">): string {
  const count = (level: Level) => checks.filter((one) => one.level === level).length;
  const parts = [count("problem") && plural(count("problem"), "problem"), count("warning") && plural(count("warning"), "warning")];
  return parts.filter(Boolean).join(" and ");
}

/** An event as the RealmService returns it; see docs/http-api.md. */
export interface RealmEvent {
  id: string;
  cursor: number;
  timestamp: string;
  time_unix_nano: string;
  observed_unix_nano: string | null;
  kind: string;
  channel: string;
  severity: Severity;
  icon: string;
  message: string;
  details: Record<string, unknown>;
  source: string | null;
  hero_id: string | null;
  campaign_id: string | null;
  run_id: string | null;
  rank: number | null;
  producer: string;
  number: number;
  trace_id: string | null;
  span_id: string | null;
  trace_flags: number;
  late: boolean;
  /** With `routine=latest`: how many more routine events this one represents. */
  coalesced?: number;
}

export type Severity = "info" | "success" | "warning" | "error";

export interface Snapshot {
  events: RealmEvent[];
  routine: RealmEvent[];
  cursor: number;
  log_id: string;
}

/** What the connection sends to its readers, in order. */
export type StreamMessage =
  | { type: "snapshot"; snapshot: Snapshot }
  | { type: "event"; event: RealmEvent }
  | { type: "reset"; reason: string }
  | { type: "gap"; after: number }
  | { type: "status"; status: ConnectionStatus };

export type ConnectionStatus = "connecting" | "live" | "reconnecting";

/** Kinds with thousands of events; ROUTINE_KINDS of realm_telemetry/kinds/table.py. */
export const ROUTINE_KINDS: ReadonlySet<string> = new Set([
  "training_step",
  "worker_heartbeat",
  "resource_sampled",
  "section_updated",
]);

/** Registered kinds may be routine too: their coalesced events have `coalesced`. */
export function isRoutine(kind: string): boolean {
  return ROUTINE_KINDS.has(kind);
}

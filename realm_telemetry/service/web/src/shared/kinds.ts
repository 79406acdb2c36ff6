/** Kinds that repeat by the thousand; ROUTINE_KINDS of realm_telemetry/kind_table.py. */
export const ROUTINE_KINDS: ReadonlySet<string> = new Set([
  "training_step",
  "worker_heartbeat",
  "section_updated",
]);

/** Registered kinds may be routine too; an event that stands for others says so itself. */
export function isRoutine(kind: string): boolean {
  return ROUTINE_KINDS.has(kind);
}

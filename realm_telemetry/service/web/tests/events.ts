import type { RealmEvent } from "../src/stream/event";

/** An event for tests; what a test is about is given. */
export function makeEvent(cursor: number, fields: Partial<RealmEvent> = {}): RealmEvent {
  return {
    id: `00000000000000aa${cursor.toString(16).padStart(16, "0")}`,
    cursor,
    timestamp: "2025-11-29T10:00:00.000000Z",
    time_unix_nano: String(1_764_410_400_000_000_000n + BigInt(cursor) * 1_000_000_000n),
    observed_unix_nano: null,
    kind: "note",
    channel: "system",
    severity: "info",
    icon: "⚙️",
    message: `Note ${cursor}`,
    details: {},
    source: null,
    hero_id: null,
    campaign_id: null,
    run_id: null,
    rank: null,
    producer: "00000000000000aa",
    number: cursor,
    trace_id: null,
    span_id: null,
    trace_flags: 0,
    late: false,
    ...fields,
  };
}

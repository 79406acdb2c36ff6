import { isRoutine } from "../shared/kinds";
import type { ConnectionStatus, RealmEvent, StreamMessage } from "../stream/types";

const SHOWN = 300;

/** A row of the list: an event, or a place where some are missing. */
export type FeedRow =
  | { type: "event"; event: RealmEvent }
  | { type: "gap"; key: string; reason: string; since: string | null; until: string | null };

/**
 * What the list of events shows, newest first.
 *
 * Held: while paused, or while somebody reads further down or has text selected, arrivals wait in
 * `waiting`, so that nothing moves under the hand; they come in when it is let go.
 */
export class Feed {
  rows: FeedRow[] = [];
  waiting: FeedRow[] = [];
  status: ConnectionStatus = "connecting";
  /** Routine events that the stream left out. */
  coalesced = 0;
  late = 0;
  lastArrivalMs: number | null = null;
  private held = false;
  private gapReason: string | null = null;
  private gaps = 0;
  private seen = new Set<string>();

  take(message: StreamMessage, nowMs: number): void {
    if (message.type === "status") this.status = message.status;
    else if (message.type === "reset") this.gapReason = message.reason;
    else if (message.type === "snapshot") this.start(message.snapshot.events, nowMs);
    else if (message.type === "event") this.add(message.event, nowMs);
  }

  hold(held: boolean): void {
    this.held = held;
    if (!held) this.release();
  }

  release(): void {
    this.rows = [...this.waiting, ...this.rows].slice(0, SHOWN);
    this.waiting = [];
  }

  private start(events: RealmEvent[], nowMs: number): void {
    const fresh = events.filter((event) => !this.seen.has(event.id));
    if (this.gapReason !== null) this.push(this.gap(fresh));
    this.gapReason = null;
    for (const event of [...fresh].reverse()) this.add(event, nowMs, false);
  }

  private gap(fresh: RealmEvent[]): FeedRow {
    const last = [...this.waiting, ...this.rows].find((row) => row.type === "event");
    return {
      type: "gap",
      key: `gap-${++this.gaps}`,
      reason: this.gapReason ?? "",
      since: last?.type === "event" ? last.event.timestamp : null,
      until: fresh.at(-1)?.timestamp ?? null,
    };
  }

  private add(event: RealmEvent, nowMs: number, arrived = true): void {
    this.coalesced += event.coalesced ?? 0;
    if (arrived) this.lastArrivalMs = nowMs;
    else this.lastArrivalMs ??= Number(event.observed_unix_nano ?? event.time_unix_nano) / 1e6;
    if (event.late) this.late += 1;
    if (isRoutine(event.kind) || event.coalesced !== undefined || event.late || this.seen.has(event.id)) return;
    this.remember(event.id);
    this.push({ type: "event", event });
  }

  private push(row: FeedRow): void {
    if (this.held) this.waiting = [row, ...this.waiting].slice(0, 5_000);
    else this.rows = [row, ...this.rows].slice(0, SHOWN);
  }

  private remember(id: string): void {
    this.seen.add(id);
    if (this.seen.size > 4 * SHOWN) this.seen = new Set([...this.seen].slice(-2 * SHOWN));
  }
}

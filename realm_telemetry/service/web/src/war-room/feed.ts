import { type ConnectionStatus, isRoutine, type RealmEvent, type StreamMessage } from "../stream/event";

const SHOWN = 300;

/** A row of the list: an event, or a gap where some are missing. */
export type FeedRow =
  | { type: "event"; event: RealmEvent }
  | { type: "gap"; key: string; reason: string; since: string | null; until: string | null };

/**
 * The rows of the list of events, newest first.
 *
 * While the feed is held (paused, scrolled, or text is selected), new events wait in `waiting`, so
 * that no row moves; they become rows afterwards. Both lists are bounded and keep the newest: the
 * Battle Log has the rest.
 */
export class Feed {
  rows: FeedRow[] = [];
  waiting: FeedRow[] = [];
  /** How many arrived while held, including those that `waiting` has no room for. */
  waitingCount = 0;
  /** How many rows were ever added to `rows`: the list draws the difference. */
  added = 0;
  status: ConnectionStatus = "connecting";
  /** Whether the stream has said what the log has; before that an empty list means nothing. */
  hasBegun = false;
  /** Routine events, and how many of them the stream coalesced. */
  routine = 0;
  coalesced = 0;
  late = 0;
  lastLate: RealmEvent | null = null;
  lastArrivalMs: number | null = null;
  private held = false;
  private gapReason: string | null = null;
  private gaps = 0;
  private readonly seen = new Set<string>();

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
    if (!this.waitingCount) return;
    this.rows = [...this.waiting, ...this.rows].slice(0, SHOWN);
    this.added += this.waitingCount;
    this.waiting = [];
    this.waitingCount = 0;
  }

  private start(events: RealmEvent[], nowMs: number): void {
    this.hasBegun = true;
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
    const arrivedMs = Number(event.observed_unix_nano ?? event.time_unix_nano) / 1e6;
    this.lastArrivalMs = arrived ? nowMs : Math.max(this.lastArrivalMs ?? 0, Math.min(arrivedMs, nowMs));
    if (this.hasNoRow(event)) return this.countRoutine(event);
    if (this.seen.has(event.id)) return;
    this.remember(event.id);
    if (event.late) [this.late, this.lastLate] = [this.late + 1, event];
    else this.push({ type: "event", event });
  }

  /** Whether an event is routine and gets no row. */
  hasNoRow(event: RealmEvent): boolean {
    return isRoutine(event.kind) || event.coalesced !== undefined;
  }

  private countRoutine(event: RealmEvent): void {
    this.coalesced += event.coalesced ?? 0;
    this.routine += 1 + (event.coalesced ?? 0);
    if (event.late) [this.late, this.lastLate] = [this.late + 1, event];
  }

  private push(row: FeedRow): void {
    const into = this.held ? this.waiting : this.rows;
    into.unshift(row);
    if (into.length > SHOWN) into.pop();
    if (this.held) this.waitingCount += 1;
    else this.added += 1;
  }

  private remember(id: string): void {
    this.seen.add(id);
    if (this.seen.size <= 4 * SHOWN) return;
    const oldest = this.seen.values().next().value;
    if (oldest !== undefined) this.seen.delete(oldest);
  }
}

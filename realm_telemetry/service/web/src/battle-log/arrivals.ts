import type { RealmEvent, Snapshot, StreamMessage } from "../stream/event";

const MAX_HELD = 1_000;

interface Arrival {
  event: RealmEvent;
  /** It has been handed over; the counts do not have it yet. */
  shown: boolean;
}

/**
 * Events of the stream that the page's query wants, until the page takes them.
 *
 * What is held is bounded, what is counted is not: a coalesced event counts for all it stands for.
 */
export class Arrivals {
  private held: Arrival[] = [];
  private highest = 0;
  /** How many came since the rows were last brought up to date. */
  count = 0;
  /** Events may have come that the stream did not show. */
  broken = false;

  constructor(private wants: (event: RealmEvent) => boolean) {}

  /** Begin anew for a query whose rows are true as of a cursor. */
  restart(wants: (event: RealmEvent) => boolean): void {
    this.wants = wants;
    this.held = [];
    this.count = this.highest = 0;
    this.broken = false;
  }

  /** Rows and counts were read as of this cursor: what came up to it is no longer new. */
  caughtUp(asOf: number): void {
    this.held = this.held.filter(({ event }) => event.cursor > asOf);
    this.highest = Math.max(this.highest, asOf);
    this.count = this.held.reduce((sum, { event }) => sum + 1 + (event.coalesced ?? 0), 0);
    this.broken = false;
  }

  /** Returns whether anything changed. */
  take(message: StreamMessage): boolean {
    if (message.type === "event") return this.add(message.event);
    if (message.type === "snapshot") return this.join(message.snapshot);
    if (message.type !== "reset" && message.type !== "gap") return false;
    return (this.broken = true);
  }

  /** Hand over the events that can be shown as they are, oldest first; each once. */
  drain(): RealmEvent[] {
    const whole = this.held.filter(({ event, shown }) => !shown && !event.coalesced);
    for (const one of whole) one.shown = true;
    return whole.map(({ event }) => event);
  }

  /** The connection began after the rows were read: what came between is in the snapshot, up to a bound. */
  private join({ events, routine }: Snapshot): boolean {
    const known = new Set(this.held.map(({ event }) => event.cursor));
    const missed = [...events, ...routine].filter((event) => !known.has(event.cursor));
    return missed.sort((a, b) => a.cursor - b.cursor).filter((event) => this.add(event)).length > 0;
  }

  private add(event: RealmEvent): boolean {
    if (event.cursor <= this.highest || !this.wants(event)) return false;
    this.count += 1 + (event.coalesced ?? 0);
    this.held.push({ event, shown: false });
    if (this.held.length > MAX_HELD) this.held.shift();
    return true;
  }
}

import type { RealmEvent, Snapshot, StreamMessage } from "./event";

const KEPT_EVENTS = 50;
const KEPT_SERIES = 1_000;

/**
 * The snapshot, kept current: what a reader gets that comes later than the connection.
 *
 * The same bounds as the service's own snapshot: the last 50 events that are not routine, and
 * the latest of each routine kind and producer.
 */
export class Recent {
  private snapshot: Snapshot | null = null;
  private readonly routine = new Map<string, RealmEvent>();
  private events: RealmEvent[] = [];

  constructor(private readonly isRoutine: (kind: string) => boolean) {}

  take(message: StreamMessage): void {
    if (message.type === "snapshot") this.start(message.snapshot);
    else if (message.type === "event") this.add(message.event);
  }

  /** Newest first, as the service answers it; null before there was one. */
  current(): Snapshot | null {
    if (!this.snapshot) return null;
    return { ...this.snapshot, events: [...this.events], routine: [...this.routine.values()].reverse() };
  }

  private start(snapshot: Snapshot): void {
    this.snapshot = { ...snapshot };
    this.events = [...snapshot.events];
    this.routine.clear();
    for (const event of [...snapshot.routine].reverse()) this.keep(event);
  }

  private add(event: RealmEvent): void {
    if (this.snapshot) this.snapshot.cursor = Math.max(this.snapshot.cursor, event.cursor);
    if (this.isRoutine(event.kind)) this.keep(event);
    else if (!event.late) this.events = [event, ...this.events.slice(0, KEPT_EVENTS - 1)];
  }

  private keep(event: RealmEvent): void {
    const series = `${event.kind} ${event.producer}`;
    this.routine.delete(series);
    this.routine.set(series, event);
    if (this.routine.size > KEPT_SERIES) {
      const oldest = this.routine.keys().next().value;
      if (oldest !== undefined) this.routine.delete(oldest);
    }
  }
}

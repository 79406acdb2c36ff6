import { parseExact } from "../shared/exact-json";
import { type ConnectionStatus, isRoutine, type RealmEvent, type Snapshot, type StreamMessage } from "./event";

const RETRY_MS = 1_000;
/** The retry interval grows up to this. */
const MAX_RETRY_MS = 4_000;
const KEPT_EVENTS = 50;
const KEPT_SERIES = 1_000;
/** Messages are sent in batches: one message between threads for many events. */
const GATHER_MS = 8;

/**
 * One connection to `api/events/stream` that retries for ever.
 *
 * The browser's EventSource resumes by itself after a broken connection, but stops for good at an
 * error response (503 while the service starts). Then this opens another one at the same cursor.
 */
class StreamSource {
  private source: EventSource | null = null;
  private lastId: string;
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly base: string,
    private readonly take: (message: StreamMessage) => void,
    lastId = "",
  ) {
    this.lastId = lastId;
  }

  open(): void {
    const url = new URL("api/events/stream?routine=latest", this.base);
    if (this.lastId) url.searchParams.set("last_event_id", this.lastId);
    const source = (this.source = new EventSource(url));
    source.onopen = () => {
      this.failures = 0;
      this.take({ type: "status", status: "live" });
    };
    source.onerror = () => this.failed(source);
    source.addEventListener("snapshot", (message) =>
      this.hand(message, (data) => ({ type: "snapshot", snapshot: data as Snapshot })),
    );
    source.addEventListener("event", (message) =>
      this.hand(message, (data) => ({ type: "event", event: data as RealmEvent })),
    );
    source.addEventListener("reset", (message) =>
      this.hand(message, (data) => ({ type: "reset", reason: (data as { reason: string }).reason })),
    );
    source.addEventListener("gap", (message) =>
      this.hand(message, (data) => ({ type: "gap", after: (data as { after: number }).after })),
    );
  }

  close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private hand(message: MessageEvent<string>, read: (data: unknown) => StreamMessage): void {
    if (message.lastEventId) this.lastId = message.lastEventId;
    this.take(read(parseExact(message.data)));
  }

  private failed(source: EventSource): void {
    this.take({ type: "status", status: "reconnecting" });
    // Open a new one in either case: the URL carries the cursor, and Chromium's own retry waits
    // longer and longer.
    source.close();
    if (source !== this.source) return;
    const wait = Math.min(RETRY_MS * 2 ** this.failures++, MAX_RETRY_MS);
    this.timer = setTimeout(() => this.open(), wait);
  }
}

/**
 * The snapshot, kept up to date, for readers that join after the connection began.
 *
 * It has the same bounds as the service's snapshot: the last 50 events that are not routine, and
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

  /** Newest first, as from the service; null before the first snapshot. */
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

export type Send = (batch: StreamMessage[]) => void;

/** One connection for many readers: it runs in the SharedWorker, or in the leading tab. */
export class StreamHub {
  private readonly readers = new Set<Send>();
  private readonly recent = new Recent(isRoutine);
  private readonly source: StreamSource;
  private status: ConnectionStatus = "connecting";
  private waiting: StreamMessage[] = [];

  constructor(base: string, lastId = "") {
    this.source = new StreamSource(base, (message) => this.take(message), lastId);
    this.source.open();
  }

  /** Send a reader the current snapshot, then every new message. */
  enter(send: Send): void {
    this.flush();
    const snapshot = this.recent.current();
    const start: StreamMessage[] = [{ type: "status", status: this.status }];
    if (snapshot) start.push({ type: "snapshot", snapshot });
    send(start);
    this.readers.add(send);
  }

  leave(send: Send): void {
    this.readers.delete(send);
  }

  close(): void {
    this.source.close();
  }

  private take(message: StreamMessage): void {
    this.recent.take(message);
    if (message.type === "status") this.status = message.status;
    if (this.waiting.push(message) === 1) setTimeout(() => this.flush(), GATHER_MS);
  }

  private flush(): void {
    const batch = this.waiting;
    if (!batch.length) return;
    this.waiting = [];
    for (const send of this.readers) send(batch);
  }
}

import type { RealmEvent, Snapshot, StreamMessage } from "./event";

const RETRY_MS = 1_000;
/** A service that restarts is tried again at once, one that stays away less and less often. */
const MAX_RETRY_MS = 4_000;

/**
 * One connection to `api/events/stream` that never gives up.
 *
 * The browser's EventSource resumes by itself after a broken connection, but ends for good at an
 * error answer (503 while the service starts); then this opens another one at the same cursor.
 */
export class StreamSource {
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

  /** The id at which a successor resumes. */
  get cursor(): string {
    return this.lastId;
  }

  private hand(message: MessageEvent<string>, read: (data: unknown) => StreamMessage): void {
    if (message.lastEventId) this.lastId = message.lastEventId;
    this.take(read(JSON.parse(message.data)));
  }

  private failed(source: EventSource): void {
    this.take({ type: "status", status: "reconnecting" });
    // Opened anew in either case: the address carries the cursor, and Chromium waits for longer
    // and longer by itself.
    source.close();
    if (source !== this.source) return;
    const wait = Math.min(RETRY_MS * 2 ** this.failures++, MAX_RETRY_MS);
    this.timer = setTimeout(() => this.open(), wait);
  }
}

import { isRoutine } from "../shared/kinds";
import { Recent } from "./recent";
import { StreamSource } from "./source";
import type { ConnectionStatus, StreamMessage } from "./event";

/** Messages are handed over in batches: one crossing between threads for many events. */
const GATHER_MS = 8;

export type Send = (batch: StreamMessage[]) => void;

/** One connection, many readers: what runs in the SharedWorker, and in a leading tab. */
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

  /** Give a reader the snapshot as of now, then everything that comes. */
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

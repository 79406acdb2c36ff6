import { withNumbers } from "../shared/exact-json";
import type { ConnectionStatus, RealmEvent, StreamMessage } from "./event";
import { connect } from "./transport";

/** An event as handlers of `on` get it: `name` is the kind with its first `_` as a dot. */
export interface NamedEvent extends RealmEvent {
  name: string;
  data: Record<string, unknown>;
}

type Handler = (event: NamedEvent) => void;
type Listener = (message: StreamMessage) => void;

/** `training_step` -> `training.step`. */
export function nameOf(kind: string): string {
  return kind.replace("_", ".");
}

/**
 * The live events, for these pages and any other:
 *
 *     eventStream.on("training.step", (event) => plot(event.data.loss, event.data.step));
 *     eventStream.on("training.*", ...); eventStream.on("*", ...);
 *
 * It connects at the first subscription, resumes at its cursor after a break, and shares one
 * connection among all tabs. Handlers of `on` get new events only, not those of the snapshot.
 */
export class EventStream {
  private readonly handlers = new Map<string, Set<Handler>>();
  private readonly listeners = new Set<Listener>();
  private disconnect: (() => void) | null = null;
  /** What a later listener gets first. */
  private snapshot: StreamMessage | null = null;
  private since: StreamMessage[] = [];
  status: ConnectionStatus = "connecting";

  constructor(
    private readonly base: string,
    private readonly open: typeof connect = connect,
  ) {}

  /** Call `handler` for each event of a name, `training.*` or `*`; returns a function that stops it. */
  on(name: string, handler: Handler): () => void {
    const handlers = this.handlers.get(name) ?? new Set();
    this.handlers.set(name, handlers.add(handler));
    this.start();
    return () => handlers.delete(handler);
  }

  /** Call `listener` for every message in order, starting with the snapshot. */
  messages(listener: Listener): () => void {
    listener({ type: "status", status: this.status });
    if (this.snapshot) [this.snapshot, ...this.since].forEach(listener);
    this.listeners.add(listener);
    this.start();
    return () => this.listeners.delete(listener);
  }

  /** Leave the connection; the next subscription connects again. */
  close(): void {
    this.disconnect?.();
    this.disconnect = null;
  }

  private start(): void {
    this.disconnect ??= this.open(this.base, (batch) => batch.forEach((one) => this.take(one)));
  }

  private take(message: StreamMessage): void {
    this.remember(message);
    for (const listener of this.listeners) guarded(() => listener(message));
    if (message.type === "event") this.dispatch(message.event);
  }

  private remember(message: StreamMessage): void {
    if (message.type === "status") this.status = message.status;
    else if (message.type === "snapshot") [this.snapshot, this.since] = [message, []];
    else if (this.listeners.size === 0) this.since = [...this.since.slice(-199), message];
  }

  private dispatch(event: RealmEvent): void {
    const name = nameOf(event.kind);
    const names = ["*", name];
    const dot = name.indexOf(".");
    if (dot > 0) names.push(`${name.slice(0, dot)}.*`);
    const details = withNumbers(event.details) as RealmEvent["details"];
    const named: NamedEvent = { ...event, name, details, data: details };
    for (const one of names) {
      for (const handler of this.handlers.get(one) ?? []) guarded(() => handler(named));
    }
  }
}

/** An error in one handler must not stop the others. */
function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    reportError(error);
  }
}

/** The URL of the service: the directory of this script, built or not. */
function serviceBase(): string {
  if (import.meta.env.DEV) return new URL(".", document.baseURI).href;
  const here = import.meta.url;
  return new URL(here.includes("/assets/") ? ".." : ".", here).href;
}

declare global {
  interface Window {
    eventStream: EventStream;
  }
}

export const eventStream = (window.eventStream ??= new EventStream(serviceBase()));

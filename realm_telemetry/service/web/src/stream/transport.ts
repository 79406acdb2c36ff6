import type { StreamMessage } from "./event";
import { StreamHub, type Send } from "./hub";

/** Connect in the best way that this browser supports; returns a function that disconnects. */
export function connect(base: string, take: Send): () => void {
  if (typeof SharedWorker !== "undefined") return throughWorker(base, take);
  if (typeof BroadcastChannel !== "undefined" && navigator.locks) return throughLeader(base, take);
  const hub = new StreamHub(base);
  hub.enter(take);
  return () => hub.close();
}

function throughWorker(base: string, take: Send): () => void {
  const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    name: "realm-stream",
  });
  worker.port.onmessage = (message: MessageEvent<StreamMessage[]>) => take(message.data);
  worker.port.postMessage({ base });
  const leave = () => worker.port.postMessage({ bye: true });
  window.addEventListener("pagehide", leave);
  // A page restored from the back/forward cache has missed messages.
  window.addEventListener("pageshow", (shown) => shown.persisted && worker.port.postMessage({ base }));
  return leave;
}

/**
 * Without SharedWorker one tab leads: it holds the lock, connects and forwards to the others. When
 * it closes, the next tab gets the lock and resumes at the last cursor it received.
 */
function throughLeader(base: string, take: Send): () => void {
  const channel = new BroadcastChannel("realm-stream");
  let lastId = "";
  let entered = false;
  let logId = "";
  const hear = (batch: StreamMessage[]) => {
    for (const message of batch) {
      if (message.type === "snapshot") logId = message.snapshot.log_id;
      const cursor = message.type === "snapshot" ? message.snapshot.cursor : 0;
      const seen = message.type === "event" ? message.event.cursor : cursor;
      if (seen) lastId = `${logId}-${seen}`;
    }
    take(batch);
  };
  channel.onmessage = (heard: MessageEvent<{ start?: string; batch?: StreamMessage[] }>) => {
    const { start, batch } = heard.data;
    if (!batch || (start !== undefined && start !== me)) return;
    // Before its own snapshot a tab must not see events that follow it.
    if (start === undefined && !entered) return;
    entered = true;
    hear(batch);
  };
  const me = crypto.randomUUID();
  channel.postMessage({ hello: me });
  const ended = new AbortController();
  void navigator.locks
    .request("realm-stream", { signal: ended.signal }, () => lead(base, channel, hear, lastId, ended))
    .catch(() => undefined); // The page closed before this tab got the lock.
  return () => ended.abort();
}

function lead(
  base: string,
  channel: BroadcastChannel,
  hear: Send,
  lastId: string,
  ended: AbortController,
): Promise<void> {
  const hub = new StreamHub(base, lastId);
  hub.enter(hear);
  hub.enter((batch) => channel.postMessage({ batch }));
  channel.addEventListener("message", (asked: MessageEvent<{ hello?: string }>) => {
    const start = asked.data.hello;
    if (!start) return;
    const once: Send = (batch) => channel.postMessage({ start, batch });
    hub.enter(once);
    hub.leave(once);
  });
  return new Promise((resolve) =>
    ended.signal.addEventListener("abort", () => {
      hub.close();
      resolve();
    }),
  );
}

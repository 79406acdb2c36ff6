/// <reference lib="webworker" />
import type { StreamMessage } from "./event";
import { StreamHub } from "./hub";

/** The connection that all tabs share: a browser allows only six connections to one host. */
declare const self: SharedWorkerGlobalScope;

let hub: StreamHub | null = null;

self.onconnect = (connected) => {
  const port = connected.ports[0];
  if (!port) return;
  const send = (batch: StreamMessage[]) => port.postMessage(batch);
  port.onmessage = (message: MessageEvent<{ base?: string; bye?: boolean }>) => {
    // A closing tab sends `bye`: a port does not report that its other end is gone.
    if (message.data.bye) return hub?.leave(send);
    hub ??= new StreamHub(message.data.base ?? "");
    hub.enter(send);
  };
};

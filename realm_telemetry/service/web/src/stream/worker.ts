/// <reference lib="webworker" />
import type { StreamMessage } from "./event";
import { StreamHub } from "./hub";

/** The connection that all tabs share: browsers allow six to one host, and a tab needs others. */
declare const self: SharedWorkerGlobalScope;

let hub: StreamHub | null = null;

self.onconnect = (connected) => {
  const port = connected.ports[0];
  if (!port) return;
  const send = (batch: StreamMessage[]) => port.postMessage(batch);
  port.onmessage = (message: MessageEvent<{ base?: string; bye?: boolean }>) => {
    // A tab that closes says so: a port does not tell when its other end has gone.
    if (message.data.bye) return hub?.leave(send);
    hub ??= new StreamHub(message.data.base ?? "");
    hub.enter(send);
  };
};

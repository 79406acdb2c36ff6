import { apiUrl } from "./api";
import { timeMs } from "./format";
import type { RealmEvent } from "../stream/event";

const AROUND_MS = 300_000;

/** The page of a run. */
export function runHref(id: string): string {
  return apiUrl(`runs/${encodeURIComponent(id.toWellFormed())}`);
}

/** The Battle Log with filters; without a range it shows the last 24 hours. */
export function logHref(params: Record<string, string>): string {
  return apiUrl("battle-log", params);
}

/** The Battle Log around an event, with it selected. */
export function eventHref(event: RealmEvent): string {
  return aroundHref(timeMs(event), event);
}

export function aroundHref(atMs: number, event: RealmEvent | null): string {
  const at = (ms: number) => new Date(ms).toISOString();
  const params: Record<string, string> = { since: at(atMs - AROUND_MS), until: at(atMs + AROUND_MS) };
  if (event) params["event"] = event.id;
  return logHref(params);
}

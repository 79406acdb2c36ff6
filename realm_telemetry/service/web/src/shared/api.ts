import type { RealmEvent } from "../stream/event";
import { parseExact } from "./exact-json";

type Params = URLSearchParams | Record<string, string>;

/** An error response of the service; `status` is 0 if the service could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

export interface HistoryPage {
  events: RealmEvent[];
  total: number;
  relation: "eq" | "gte";
  asOf: number;
  /** The parameters of the next page; null after the last. */
  next: URLSearchParams | null;
}

/** The URL of a path of the service, relative to the page, so that any mount point works. */
export function apiUrl(path: string, params?: Params): string {
  // A page below a directory says where the service is.
  const root = document.documentElement.dataset["root"] ?? ".";
  const url = new URL(path, new URL(`${root}/`, document.baseURI));
  if (params) url.search = new URLSearchParams(params).toString();
  return url.href;
}

export async function getJson<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return (await (await ask(apiUrl(path, params), { signal })).json()) as T;
}

export async function getText(path: string): Promise<string> {
  return (await ask(apiUrl(path), {})).text();
}

/** A page of a list, and the parameters of the next one; null after the last. */
export async function getListed<T>(
  path: string,
  params: Params,
  signal?: AbortSignal,
): Promise<{ found: T; next: URLSearchParams | null }> {
  const response = await ask(apiUrl(path, params), { signal });
  return { found: (await response.json()) as T, next: nextParams(response.headers.get("link")) };
}

/** As getJson, for events: their details keep integers of any size (shared/exact-json.ts). */
export async function getEvents<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return parseExact(await (await ask(apiUrl(path, params), { signal })).text()) as T;
}

/** One page of history, newest first. */
export async function getPage(params: URLSearchParams, signal?: AbortSignal): Promise<HistoryPage> {
  const response = await ask(apiUrl("api/battle_log", params), { signal });
  const headers = response.headers;
  return {
    events: parseExact(await response.text()) as RealmEvent[],
    total: Number(headers.get("x-total-count") ?? 0),
    relation: headers.get("x-total-relation") === "gte" ? "gte" : "eq",
    asOf: Number(headers.get("x-as-of") ?? 0),
    next: nextParams(headers.get("link")),
  };
}

export interface NoteFields {
  run_id?: string | null;
  hero_id?: string | null;
  campaign_id?: string | null;
  details?: Record<string, unknown>;
}

/** Store a note; returns after it is in the log. */
export async function postNote(message: string, fields: NoteFields = {}): Promise<void> {
  const event = { kind: "note", message, source: "war-room", ...fields };
  await postJson("api/v1/events", { events: [event] });
}

/** Send JSON; returns the JSON of the answer. */
export async function postJson<T>(path: string, body: unknown): Promise<T> {
  const headers = { "content-type": "application/json", accept: "application/json" };
  return (await (await ask(apiUrl(path), { method: "POST", headers, body: JSON.stringify(body) })).json()) as T;
}

function nextParams(link: string | null): URLSearchParams | null {
  const found = /<\?([^>]*)>;\s*rel="next"/.exec(link ?? "");
  return found ? new URLSearchParams(found[1]) : null;
}

async function ask(url: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The service does not answer.", "Is `realm serve` running?");
  }
  // The login form instead of data: the cookie has expired.
  if (response.redirected && new URL(response.url).pathname.endsWith("/login")) location.reload();
  if (response.ok) return response;
  const body = (await response.json().catch(() => ({}))) as Partial<Record<string, string>>;
  throw new ApiError(
    response.status,
    body["error"] ?? "error",
    body["message"] ?? `The service answered ${response.status}.`,
    body["hint"] ?? "",
  );
}

import type { RealmEvent } from "../stream/event";
import { parseExact } from "./exact-json";

type Params = URLSearchParams | Record<string, string>;

/** A request without its whole answer after so long has failed: the line may be dead. */
const DEADLINE_MS = 60_000;
/** After an error a request is repeated so much later, or as much as the service asks for. */
const AGAIN_MS = 10_000;
const MOST_AGAIN_MS = 60_000;
/** Errors that are not those of the request: they may be gone the next time. */
const PASSING: ReadonlySet<number> = new Set([401, 403, 408, 429]);

/** An error response of the service; `status` is 0 if the service could not be reached. */
export class ApiError extends Error {
  /** retryAfter: the header of that name. */
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
    private readonly retryAfter: string | null = null,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get isPassing(): boolean {
    return this.status < 400 || this.status >= 500 || PASSING.has(this.status);
  }

  /** When to ask again. */
  get againMs(): number {
    return Math.min(Math.max(AGAIN_MS, Number(this.retryAfter) * 1_000 || 0), MOST_AGAIN_MS);
  }
}

/** Any error as one that a page can show. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(400, "error", String(error), "");
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

export function getJson<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return ask(apiUrl(path, params), { signal }, (text) => JSON.parse(text) as T);
}

export function getText(path: string): Promise<string> {
  return ask(apiUrl(path), {}, String);
}

/** A page of a list, and the parameters of the next one; null after the last. */
export function getListed<T>(
  path: string,
  params: Params,
  signal?: AbortSignal,
): Promise<{ found: T; next: URLSearchParams | null }> {
  return ask(apiUrl(path, params), { signal }, (text, headers) => ({ found: JSON.parse(text) as T, next: nextParams(headers.get("link")) }));
}

/** As getJson, for events: their details keep integers of any size (shared/exact-json.ts). */
export function getEvents<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return ask(apiUrl(path, params), { signal }, (text) => parseExact(text) as T);
}

/** One page of history, newest first. */
export function getPage(params: URLSearchParams, signal?: AbortSignal): Promise<HistoryPage> {
  return ask(apiUrl("api/battle_log", params), { signal }, (text, headers) => ({
    events: parseExact(text) as RealmEvent[],
    total: Number(headers.get("x-total-count") ?? 0),
    relation: headers.get("x-total-relation") === "gte" ? "gte" : "eq",
    asOf: Number(headers.get("x-as-of") ?? 0),
    next: nextParams(headers.get("link")),
  }));
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
export function postJson<T>(path: string, body: unknown): Promise<T> {
  const headers = { "content-type": "application/json", accept: "application/json" };
  return ask(apiUrl(path), { method: "POST", headers, body: JSON.stringify(body) }, (text) => JSON.parse(text) as T);
}

function nextParams(link: string | null): URLSearchParams | null {
  const found = /<\?([^>]*)>;\s*rel="next"/.exec(link ?? "");
  return found ? new URLSearchParams(found[1]) : null;
}

/** read: makes what is wanted of a whole answer. Raises ApiError; or AbortError, if the caller's signal ended it. */
async function ask<T>(url: string, options: RequestInit, read: (text: string, headers: Headers) => T): Promise<T> {
  const { signal } = options;
  const late = AbortSignal.timeout(DEADLINE_MS);
  let response: Response | undefined;
  let text: string;
  try {
    response = await fetch(url, { ...options, signal: signal ? AbortSignal.any([signal, late]) : late });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw response ? broken() : new ApiError(0, "unreachable", "The service does not answer.", "Is `realm serve` running?");
  }
  // The login form instead of data: the cookie has expired.
  if (response.redirected && new URL(response.url).pathname.endsWith("/login")) location.reload();
  if (!response.ok) throw refusal(response, text);
  try {
    return read(text, response.headers);
  } catch {
    throw broken();
  }
}

/** The connection, or a proxy on the way, has cut an answer. */
function broken(): ApiError {
  return new ApiError(1, "broken", "The answer of the service is not whole.", "The page asks again by itself.");
}

function refusal({ status, headers }: Response, text: string): ApiError {
  let body: Partial<Record<string, string>> = {};
  try {
    body = (JSON.parse(text) ?? {}) as typeof body;
  } catch {
    // A proxy's own page.
  }
  return new ApiError(
    status,
    body["error"] ?? "error",
    body["message"] ?? `The service answered ${status}.`,
    body["hint"] ?? "",
    headers.get("retry-after"),
  );
}

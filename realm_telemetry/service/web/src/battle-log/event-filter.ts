import { equalsNumber, exactText } from "../shared/exact-json";
import { timeMs } from "../shared/format";
import { isRoutine, type RealmEvent } from "../stream/event";
import { exclusion, type ListName, type Query, splitValues, withList } from "./address";
import { FIELDS } from "./fields";
import { containsPhrases, phrasesOf, wordsOf } from "./text-search";
import { momentMs, type TimeSpan } from "./time-range";

/** Whether the service would return an event for this query: for events that arrive live. */
export function matcher(query: Query, span: TimeSpan): (event: RealmEvent) => boolean {
  const names = FIELDS.filter(({ name }) => query.lists[name].length).map((field) => {
    const { wanted, unwanted } = splitValues(query.lists[field.name]);
    return { field, wanted: new Set(wanted), unwanted: new Set(unwanted) };
  });
  const phrases = phrasesOf(query.q);
  const has = query.has.map(parseHas);
  const not = query.not.map(parseHas);
  const from = span.since ? momentMs(span.since) : -Infinity;
  const to = span.until ? momentMs(span.until) : Infinity;
  return (event) => {
    const at = timeMs(event);
    return (
      names.every(({ field, wanted, unwanted }) => fits(String(event[field.of] ?? field.absent), wanted, unwanted)) &&
      at >= from &&
      at < to &&
      has.every((one) => hasDetail(event.details, one)) &&
      !not.some((one) => hasDetail(event.details, one)) &&
      // Full-text search does not cover routine kinds.
      (!phrases.length || (!isRoutine(event.kind) && containsPhrases(searchText(event), phrases)))
    );
  };
}

function fits(name: string, wanted: ReadonlySet<string>, unwanted: ReadonlySet<string>): boolean {
  return (!wanted.size || wanted.has(name)) && !unwanted.has(name);
}

/** All text of an event that full-text search covers. */
function searchText(event: RealmEvent): string {
  const { message, kind, source, hero_id, campaign_id, run_id, details } = event;
  return [message, kind, source, hero_id, campaign_id, run_id, exactText(details, 0)].join("\n");
}

interface Has {
  path: string;
  value: string;
}

function parseHas(text: string): Has {
  const colon = text.indexOf(":");
  return { path: text.slice(0, colon).trim(), value: text.slice(colon + 1) };
}

function hasDetail(details: Record<string, unknown>, { path, value }: Has): boolean {
  const places = [[path], path.split(".")];
  return places.some((keys) => lookUp(details, keys).some((found) => equals(found, value)));
}

/** All values at a path, through at most one list, as in realm_telemetry/log/has.py. */
function lookUp(from: unknown, keys: readonly string[], throughList = true): unknown[] {
  let found = from;
  for (const [at, key] of keys.entries()) {
    if (typeof found !== "object" || found === null || Array.isArray(found)) return [];
    found = (found as Record<string, unknown>)[key];
    if (throughList && Array.isArray(found)) {
      return found.flatMap((entry) => lookUp(entry, keys.slice(at + 1), false));
    }
  }
  return [found];
}

function equals(found: unknown, text: string): boolean {
  if (typeof found === "string") return found === text;
  if (typeof found === "number" || typeof found === "bigint") return equalsNumber(found, text);
  return (found === null || typeof found === "boolean") && String(found) === text;
}

export type Path = readonly (string | number)[];

/** Fields of an event that have a filter of their own. */
const OWN_FILTER = new Map<unknown, ListName>(FIELDS.map((field) => [field.of, field.name]));

/** A path as people write it: `details.worker.gpus[0].name`. */
export function pathText(path: Path): string {
  return path
    .map((key, at) => {
      if (typeof key === "number") return `[${key}]`;
      if (!/^[\w-]+$/.test(key)) return `[${JSON.stringify(key)}]`;
      return at ? `.${key}` : key;
    })
    .join("");
}

/** The query for only events with this value, or without it; null if the API has no such filter. */
export function filteredBy(query: Query, path: Path, value: unknown, keep: boolean): Query | null {
  if (value !== null && typeof value === "object") return null;
  if (path.length === 1 && path[0] === "message") return keep ? byWords(query, String(value)) : null;
  if (path[0] !== "details") return byField(query, path, value, keep);
  // The API matches any entry of one list on the path.
  if (path.filter((key) => typeof key === "number").length > 1) return null;
  const keys = path.slice(1).filter((key): key is string => typeof key === "string");
  const plain = keys.every((key) => /^[^"\\\p{Cc}:]+$/u.test(key));
  const name = keys.join(".");
  if (!keys.length || !plain || name.length > 256 || String(value).length > 1_000) return null;
  const condition = `${name}:${value}`;
  const others = (list: readonly string[]) => list.filter((one) => one !== condition);
  return keep
    ? { ...query, has: [...others(query.has), condition], not: others(query.not) }
    : { ...query, not: [...others(query.not), condition], has: others(query.has) };
}

/** A message has no filter of its own: search for its words as a phrase. */
function byWords(query: Query, message: string): Query | null {
  const plain = message.length <= 200 && !message.includes('"') && wordsOf(message).length > 0;
  return plain ? { ...query, q: `"${message.trim()}"` } : null;
}

function byField(query: Query, path: Path, value: unknown, keep: boolean): Query | null {
  const name = path.length === 1 ? OWN_FILTER.get(path[0]) : undefined;
  // A comma separates values, and a leading `!` excludes one.
  if (!name || typeof value !== "string" || !value || /^[!\s]|,|\s$/.test(value)) return null;
  if (keep) return withList(query, name, [value]);
  const others = query.lists[name].filter((one) => one !== value);
  const named = others.length < query.lists[name].length && splitValues(others).wanted.length > 0;
  return withList(query, name, named ? others : [...others, exclusion(value)]);
}

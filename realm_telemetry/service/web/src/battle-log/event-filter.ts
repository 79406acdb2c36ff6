import { isRoutine } from "../shared/kinds";
import { timeMs } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import { LISTS, type ListName, type Query, wantedOf } from "./address";
import { type Span, momentMs } from "./time-range";
import { containsPhrases, phrasesOf } from "./text-search";

const FIELDS: Record<ListName, (event: RealmEvent) => string | null> = {
  channel: (event) => event.channel,
  severity: (event) => event.severity,
  kind: (event) => event.kind,
  hero: (event) => event.hero_id,
  campaign: (event) => event.campaign_id,
  run: (event) => event.run_id,
  producer: (event) => event.producer,
};

/** Whether the service would answer an event to this query: for events that arrive live. */
export function matcher(query: Query, span: Span): (event: RealmEvent) => boolean {
  const names = LISTS.filter((name) => query.lists[name].length).map((name) => {
    const { wanted, unwanted } = wantedOf(query.lists[name]);
    return { field: FIELDS[name], wanted: new Set(wanted), unwanted: new Set(unwanted) };
  });
  const phrases = phrasesOf(query.q);
  const has = query.has.map(parseHas);
  const not = query.not.map(parseHas);
  const from = span.since ? momentMs(span.since) : -Infinity;
  const to = span.until ? momentMs(span.until) : Infinity;
  return (event) => {
    const at = timeMs(event);
    return (
      names.every(({ field, wanted, unwanted }) => fits(field(event) ?? "", wanted, unwanted)) &&
      at >= from &&
      at < to &&
      has.every((one) => hasDetail(event.details, one)) &&
      !not.some((one) => hasDetail(event.details, one)) &&
      // Full text leaves routine kinds out.
      (!phrases.length || (!isRoutine(event.kind) && containsPhrases(searchText(event), phrases)))
    );
  };
}

function fits(name: string, wanted: ReadonlySet<string>, unwanted: ReadonlySet<string>): boolean {
  return (!wanted.size || wanted.has(name)) && !unwanted.has(name);
}

/** All of an event that full text search looks at. */
export function searchText(event: RealmEvent): string {
  const { message, kind, source, hero_id, campaign_id, run_id, details } = event;
  return [message, kind, source, hero_id, campaign_id, run_id, JSON.stringify(details)].join("\n");
}

interface Has {
  path: string;
  value: string;
}

export function parseHas(text: string): Has {
  const colon = text.indexOf(":");
  return { path: text.slice(0, colon).trim(), value: text.slice(colon + 1) };
}

function hasDetail(details: Record<string, unknown>, { path, value }: Has): boolean {
  const places = [[path], path.split(".")];
  return places.some((keys) => lookUp(details, keys).some((found) => equals(found, value)));
}

/** What keys lead to, through one list at the most, as realm_telemetry/log/has.py has it. */
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
  if (typeof found === "number") return /^-?[\d.]/.test(text) && Number(text) === found;
  return (found === null || typeof found === "boolean") && String(found) === text;
}

import type { RealmEvent } from "../stream/event";
import { containsPhrases, highlight } from "./text-search";

const LOOKED_AT = 2_000;
const MAX_CHARS = 20_000;
const BEFORE_CHARS = 24;
const SHOWN_CHARS = 90;

/** Long details are looked through once, not at every drawing. */
let known = new WeakMap<RealmEvent, string | null>();
let knownFor: readonly string[][] = [];

/**
 * Where an event has what was searched for, if its row does not show it: `job.error: … out of
 * memory …`, `hero: dio`; null if the row shows it all.
 */
export function hitSnippet(event: RealmEvent, phrases: readonly string[][]): string | null {
  if (!phrases.length) return null;
  if (JSON.stringify(knownFor) !== JSON.stringify(phrases)) [known, knownFor] = [new WeakMap(), phrases];
  let found = known.get(event);
  if (found === undefined) known.set(event, (found = find(event, phrases)));
  return found;
}

function find(event: RealmEvent, phrases: readonly string[][]): string | null {
  const row = [event.message, event.kind, event.run_id ?? event.hero_id ?? event.source].join("\n");
  const missing = phrases.filter((phrase) => !containsPhrases(row, [phrase]));
  if (!missing.length) return null;
  for (const line of [...names(event), ...leaves(event.details)]) {
    const parts = highlight(line, missing);
    if (parts.some((part) => part.hit)) return cut(line, parts[0]!.hit ? 0 : parts[0]!.text.length);
  }
  return null;
}

function names({ hero_id, campaign_id, run_id, source }: RealmEvent): string[] {
  const all = { hero: hero_id, campaign: campaign_id, run: run_id, source };
  return Object.entries(all).flatMap(([name, value]) => (value ? [`${name}: ${value}`] : []));
}

/** `path: value` of each value, in order, up to a bound. */
function* leaves(details: Record<string, unknown>): Generator<string> {
  let left = LOOKED_AT;
  const waiting: [string, unknown][] = [["", details]];
  for (let next = waiting.pop(); next && left > 0; next = waiting.pop(), left--) {
    const [path, value] = next;
    if (typeof value === "object" && value !== null) waiting.push(...children(path, value).reverse());
    else yield `${path}: ${String(value).slice(0, MAX_CHARS)}`;
  }
}

function children(path: string, value: object): [string, unknown][] {
  if (Array.isArray(value)) return value.slice(0, LOOKED_AT).map((entry, at) => [`${path}[${at}]`, entry]);
  return Object.entries(value).slice(0, LOOKED_AT).map(([key, one]) => [path ? `${path}.${key}` : key, one]);
}

/** As much as a row has room for, with the hit in it and the path before it. */
function cut(line: string, hit: number): string {
  const colon = line.indexOf(": ") + 2;
  const from = Math.max(colon, hit - BEFORE_CHARS);
  const start = from > colon ? `${line.slice(0, colon)}…` : line.slice(0, colon);
  const end = from + SHOWN_CHARS < line.length ? "…" : "";
  return start + line.slice(from, from + SHOWN_CHARS) + end;
}

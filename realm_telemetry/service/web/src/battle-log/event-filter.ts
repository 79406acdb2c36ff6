import { html, type TemplateResult } from "lit";
import { equalsNumber, exactText } from "../shared/exact-json";
import { timeMs } from "../shared/format";
import { isRoutine, type RealmEvent } from "../stream/event";
import { exclusion, type ListName, momentMs, type Query, splitValues, type TimeSpan, withList } from "./address";
import { FIELDS } from "./fields";

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

const QUOTED_PATH = /^\s*("(?:[^"\\]|\\.)*")\s*:/s;

/** A name as it stands before a colon, as in realm_telemetry/values/paths.py: as JSON text where it needs to be. */
function writePath(name: string): string {
  return name === name.trim() && !/[:,"\p{Cc}]/u.test(name) ? name : JSON.stringify(name);
}

function parseHas(text: string): Has {
  const quoted = QUOTED_PATH.exec(text);
  if (quoted?.[1]) return { path: unquoted(quoted[1]), value: text.slice(quoted[0].length) };
  const colon = text.indexOf(":");
  return { path: text.slice(0, colon).trim(), value: text.slice(colon + 1) };
}

function unquoted(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text; // the service refuses it
  }
}

function hasDetail(details: Record<string, unknown>, { path, value }: Has): boolean {
  const parts = path.split(".");
  const places = parts.every(Boolean) ? [[path], parts] : [[path]];
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
  const name = keys.join(".");
  if (!keys.every(Boolean) || !name || name.length > 256 || String(value).length > 1_000) return null;
  const condition = `${writePath(name)}:${value}`;
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

const WORD = /[\p{L}\p{N}\p{M}]+/gu;
const PART = /"([^"]*)"|([^\s"]+)/g;
const LOOKED_AT = 2_000;
const MAX_CHARS = 20_000;
const BEFORE_CHARS = 24;
const SHOWN_CHARS = 90;

interface Segment {
  text: string;
  hit: boolean;
}

interface Token {
  word: string;
  start: number;
  end: number;
}

/** The phrases of a query, each as its words; all must occur, the words of a phrase in sequence. */
export function phrasesOf(query: string): string[][] {
  return [...query.matchAll(PART)]
    .map((part) => wordsOf(part[1] ?? part[2] ?? ""))
    .filter((words) => words.length > 0);
}

/** The words of a text, split as the service's full-text search splits them. */
export function wordsOf(text: string): string[] {
  return tokensOf(text).map((token) => token.word);
}

/** Whether a text has all phrases. */
export function containsPhrases(text: string, phrases: readonly string[][]): boolean {
  if (!phrases.length) return true;
  const words = `\0${wordsOf(text).join("\0")}\0`;
  return phrases.every((phrase) => words.includes(`\0${phrase.join("\0")}\0`));
}

/** A text split where phrases occur; joined, the segments are the text. */
export function highlight(text: string, phrases: readonly string[][]): Segment[] {
  const ranges = phrases.length ? hits(tokensOf(text), phrases) : [];
  const segments: Segment[] = [];
  let at = 0;
  for (const [start, end] of ranges) {
    if (start > at) segments.push({ text: text.slice(at, start), hit: false });
    segments.push({ text: text.slice(start, end), hit: true });
    at = end;
  }
  if (at < text.length || !segments.length) segments.push({ text: text.slice(at), hit: false });
  return segments;
}

/** A text with the search words marked. */
export function marked(text: string, phrases: readonly string[][]): TemplateResult {
  return html`${highlight(text, phrases).map((part) =>
    part.hit ? html`<mark>${part.text}</mark>` : part.text,
  )}`;
}

function hits(tokens: readonly Token[], phrases: readonly string[][]): [number, number][] {
  const found: [number, number][] = [];
  for (const phrase of phrases) {
    for (let at = 0; at + phrase.length <= tokens.length; at++) {
      if (!phrase.every((word, step) => tokens[at + step]?.word === word)) continue;
      found.push([tokens[at]!.start, tokens[at + phrase.length - 1]!.end]);
    }
  }
  return merged(found.sort((a, b) => a[0] - b[0]));
}

function merged(ranges: readonly [number, number][]): [number, number][] {
  const kept: [number, number][] = [];
  for (const [start, end] of ranges) {
    const last = kept.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else kept.push([start, end]);
  }
  return kept;
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  for (const found of text.matchAll(WORD)) {
    const word = plain(found[0]);
    if (word) tokens.push({ word, start: found.index, end: found.index + found[0].length });
  }
  return tokens;
}

/** Lower case, without accents. */
function plain(word: string): string {
  return word.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "");
}

/** Long details are searched once, not each time a row is drawn. */
let known = new WeakMap<RealmEvent, string | null>();
let knownFor: readonly string[][] = [];

/**
 * Where the search words occur in an event if its row does not show them: `job.error: … out of
 * memory …`, `hero: dio`; null if the row shows all of them.
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

/** `path: value` of each value, in order, up to a limit. */
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

/** The path and the part around the hit, as long as a row has room for. */
function cut(line: string, hit: number): string {
  const colon = line.indexOf(": ") + 2;
  const from = Math.max(colon, hit - BEFORE_CHARS);
  const start = from > colon ? `${line.slice(0, colon)}…` : line.slice(0, colon);
  const end = from + SHOWN_CHARS < line.length ? "…" : "";
  return start + line.slice(from, from + SHOWN_CHARS) + end;
}

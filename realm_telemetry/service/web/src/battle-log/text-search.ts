import { html, type TemplateResult } from "lit";
import type { RealmEvent } from "../stream/event";

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

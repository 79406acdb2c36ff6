import { html, type TemplateResult } from "lit";

/** Words of texts and queries, cut as the service's full text search cuts them. */

const WORD = /[\p{L}\p{N}\p{M}]+/gu;
const PART = /"([^"]*)"|([^\s"]+)/g;

export interface Segment {
  text: string;
  hit: boolean;
}

interface Token {
  word: string;
  start: number;
  end: number;
}

/** The phrases of a query, each as its words; all must occur, a phrase's words side by side. */
export function phrasesOf(query: string): string[][] {
  return [...query.matchAll(PART)]
    .map((part) => wordsOf(part[1] ?? part[2] ?? ""))
    .filter((words) => words.length > 0);
}

export function wordsOf(text: string): string[] {
  return tokensOf(text).map((token) => token.word);
}

/** Whether a text has all phrases. */
export function containsPhrases(text: string, phrases: readonly string[][]): boolean {
  if (!phrases.length) return true;
  const words = `\0${wordsOf(text).join("\0")}\0`;
  return phrases.every((phrase) => words.includes(`\0${phrase.join("\0")}\0`));
}

/** A text cut where phrases occur in it; joined, the segments are the text. */
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

/** A text with the words that were searched for marked. */
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

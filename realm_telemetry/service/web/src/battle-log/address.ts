import type { ReactiveControllerHost } from "lit";
import { formatTime, type Zone } from "../shared/format";
import { FIELDS } from "./fields";
import { joinNames, splitNames } from "./filter-data";
import type { RealmLogList } from "./log-list";

/** Filters whose values are a comma-separated list; names and order as in the HTTP API. */
export const LISTS = FIELDS.map((field) => field.name);
const DEFAULT_RANGE: Range = { named: null, since: "24h", until: "" };

export type ListName = (typeof FIELDS)[number]["name"];

/** All filters except time. Values with `!` are excluded; `has` and `not` hold `path:value`. */
export interface Query {
  readonly lists: Readonly<Record<ListName, readonly string[]>>;
  readonly q: string;
  readonly has: readonly string[];
  readonly not: readonly string[];
}

/** `since` and `until` as the HTTP API takes them, so `24h` stays relative; or a named range. */
export interface Range {
  readonly named: "last-night" | "all" | null;
  readonly since: string;
  readonly until: string;
}

/** The whole state of the page: the same address shows the same rows to everyone. */
export interface Address {
  readonly query: Query;
  readonly range: Range;
  readonly asOf: number | null;
  readonly event: string | null;
  readonly zone: Zone;
  readonly view: "log" | "summary";
  readonly live: boolean;
}

export const EMPTY_QUERY: Query = {
  lists: listsFrom(() => []),
  q: "",
  has: [],
  not: [],
};

export function readAddress(search: string): Address {
  const params = new URLSearchParams(search);
  const asOf = Number(params.get("as_of") ?? NaN);
  return {
    query: readQuery(params),
    range: readRange(params),
    asOf: Number.isSafeInteger(asOf) && asOf >= 0 ? asOf : null,
    event: params.get("event") || null,
    zone: params.get("tz") === "utc" ? "utc" : "local",
    view: params.get("view") === "summary" ? "summary" : "log",
    live: params.get("live") === "1",
  };
}

/** The query string of an address, without defaults. */
export function writeAddress(address: Address): string {
  const params = queryParams(address.query);
  if (address.range.named) params.set("range", address.range.named);
  else if (!sameRange(address.range, DEFAULT_RANGE)) {
    if (address.range.since) params.set("since", address.range.since);
    if (address.range.until) params.set("until", address.range.until);
  }
  if (address.asOf !== null) params.set("as_of", String(address.asOf));
  if (address.live) params.set("live", "1");
  if (address.zone === "utc") params.set("tz", "utc");
  if (address.view === "summary") params.set("view", "summary");
  if (address.event) params.set("event", address.event);
  const text = readable(params);
  return text ? `?${text}` : "";
}

/** A query's parameters, the same for the address and the HTTP API. */
export function queryParams(query: Query): URLSearchParams {
  const params = new URLSearchParams();
  for (const name of LISTS) {
    if (query.lists[name].length) params.set(name, joinNames(query.lists[name]));
  }
  if (query.q) params.set("q", query.q);
  for (const has of query.has) params.append("has", has);
  for (const not of query.not) params.append("not", not);
  return params;
}

export function sameRange(a: Range, b: Range): boolean {
  return a.named === b.named && a.since === b.since && a.until === b.until;
}

/** What decides which rows are shown; addresses with the same key need no new request. */
export function dataKey(address: Address): string {
  const { query, range, asOf } = address;
  const zone = range.named === "last-night" ? address.zone : "";
  return JSON.stringify([queryParams(query).toString(), range, asOf, zone]);
}

export function withList(query: Query, name: ListName, values: readonly string[]): Query {
  return { ...query, lists: { ...query.lists, [name]: [...new Set(values)] } };
}

/** Add a value to a list, or remove it if the list has it, wanted or excluded. */
export function toggled(query: Query, name: ListName, value: string): Query {
  const values = query.lists[name];
  const without = values.filter((one) => one !== value && one !== exclusion(value));
  return withList(query, name, without.length < values.length ? without : [...values, value]);
}

/** A value as a list entry that excludes it. */
export function exclusion(value: string): string {
  return `!${value}`;
}

/** The wanted and the excluded values of a list. */
export function splitValues(values: readonly string[]): { wanted: string[]; unwanted: string[] } {
  const wanted = values.filter((value) => !value.startsWith("!"));
  return { wanted, unwanted: values.filter((value) => value.startsWith("!")).map((value) => value.slice(1).trim()) };
}

function readQuery(params: URLSearchParams): Query {
  const lists = listsFrom((field) => listOf(params, field));
  const more = (name: string) => [...new Set(params.getAll(name).filter(Boolean))];
  return { lists, q: (params.get("q") ?? "").trim(), has: more("has"), not: more("not") };
}

type Field = (typeof FIELDS)[number];

function listsFrom(values: (field: Field) => readonly string[]): Query["lists"] {
  return Object.fromEntries(FIELDS.map((field) => [field.name, values(field)])) as Query["lists"];
}

function listOf(params: URLSearchParams, { name, alias }: Field): string[] {
  const given = [...params.getAll(name), ...(alias ? params.getAll(alias) : [])];
  return [...new Set(given.flatMap(splitNames))];
}

function readRange(params: URLSearchParams): Range {
  const named = params.get("range");
  if (named === "all" || named === "last-night") return { named, since: "", until: "" };
  const range: Range = {
    named: null,
    since: params.get("since") ?? "",
    until: params.get("until") ?? "",
  };
  return range.since || range.until ? range : DEFAULT_RANGE;
}

/** Commas, colons and exclamation marks need no escape in a query string, and people read URLs. */
function readable(params: URLSearchParams): string {
  return params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%21", "!");
}

const UNITS_MS: Record<string, number> = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };
const NIGHT_BEGINS_H = 18;
const NIGHT_ENDS_H = 8;

/** label: on its button. text: elsewhere. */
interface Preset {
  label: string;
  text: string;
  range: Range;
}

const since = (text: string): Range => ({ named: null, since: text, until: "" });

export const PRESETS: readonly Preset[] = [
  { label: "1 h", text: "last hour", range: since("1h") },
  { label: "Last night", text: "last night", range: { named: "last-night", since: "", until: "" } },
  { label: "24 h", text: "last 24 hours", range: since("24h") },
  { label: "7 d", text: "last 7 days", range: since("7d") },
  { label: "All", text: "all time", range: { named: "all", since: "", until: "" } },
];

/** A range as absolute times; null where it is open. */
export interface TimeSpan {
  since: string | null;
  until: string | null;
}

/** Make a range absolute: all requests of one view must cover the same time. */
export function resolveRange(range: Range, now: Date, zone: Zone): TimeSpan {
  if (range.named === "all") return { since: null, until: null };
  if (range.named === "last-night") return lastNight(now, zone);
  return { since: resolveTime(range.since, now), until: resolveTime(range.until, now) };
}

/** A relative time or `now` as ISO 8601; everything else is left to the service. */
export function resolveTime(text: string, now: Date): string | null {
  const word = text.trim().toLowerCase();
  if (!word) return null;
  if (word === "now") return now.toISOString();
  const ago = /^(\d{1,9})\s*([smhdw])(?:\s+ago)?$/.exec(word);
  if (!ago) return text.trim();
  const moment = new Date(now.getTime() - Number(ago[1]) * (UNITS_MS[ago[2] ?? ""] ?? 0));
  return Number.isNaN(moment.getTime()) ? text.trim() : moment.toISOString();
}

/** From 18:00 to 08:00; before 08:00 it is the current night. */
export function lastNight(now: Date, zone: Zone): TimeSpan {
  const end = atHour(now, NIGHT_ENDS_H, zone);
  const begin = atHour(now, NIGHT_BEGINS_H, zone, -1);
  return { since: begin.toISOString(), until: now < end ? null : end.toISOString() };
}

function atHour(now: Date, hour: number, zone: Zone, days = 0): Date {
  const moment = new Date(now);
  if (zone === "utc") {
    moment.setUTCDate(moment.getUTCDate() + days);
    moment.setUTCHours(hour, 0, 0, 0);
  } else {
    moment.setDate(moment.getDate() + days);
    moment.setHours(hour, 0, 0, 0);
  }
  return moment;
}

/** The HTTP API's parameters for the rows of an address. */
export function apiParams(address: Pick<Address, "query">, span: TimeSpan): URLSearchParams {
  const params = queryParams(address.query);
  if (span.since) params.set("since", span.since);
  if (span.until) params.set("until", span.until);
  return params;
}

/** A time of the HTTP API in milliseconds, as the service reads it; NaN if it is invalid. */
export function momentMs(text: string): number {
  if (/^-?\d{5,11}(\.\d{1,9})?$/.test(text)) return Number(text) * 1_000;
  const zoned = /[zZ]$|[+-]\d\d:?\d\d$/.test(text);
  return Date.parse(zoned || /^\d{4}-\d\d-\d\d$/.test(text) ? text : `${text}Z`);
}

/** A range in words. */
export function rangeText(range: Range, zone: Zone): string {
  const preset = PRESETS.find(
    (one) => one.range.named === range.named && one.range.since === range.since,
  );
  if (preset && !range.until) return preset.text;
  const shown = (text: string) => {
    const ms = momentMs(text);
    return Number.isNaN(ms) ? text : formatTime(new Date(ms), { zone, date: true });
  };
  if (!range.until) return `since ${shown(range.since)}`;
  if (!range.since) return `until ${shown(range.until)}`;
  return `${shown(range.since)} – ${shown(range.until)}`;
}

/** Nanoseconds as a string of seconds, which the HTTP API reads to the last digit. */
export function seconds(nanos: string | bigint): string {
  const digits = String(nanos).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/** One nanosecond later, for ranges that must contain the time. */
export function secondsAfter(nanos: string): string {
  return seconds(BigInt(nanos) + 1n);
}

export interface Step {
  /** All changes while typing are one step of Back. */
  typing?: boolean;
  /** Replace the current step, as when moving along rows with the details open. */
  replace?: boolean;
}

/** The page as its parts know it: rows, live tail and selection read its address and go to others. */
export interface LogPage extends ReactiveControllerHost {
  readonly address: Address;
  readonly list: RealmLogList | null;
  go(address: Address, step?: Step): void;
}

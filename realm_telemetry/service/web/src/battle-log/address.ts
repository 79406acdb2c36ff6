import type { Zone } from "../shared/format";
import { FIELDS } from "./fields";
import { joinNames, splitNames } from "./names";

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

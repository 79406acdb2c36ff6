import { type Place, LISTS, queryParams, writePlace } from "./address";
import { type Span, apiParams } from "./time-range";

/** A text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The filter as a `curl` command; ages stay ages. */
export function asCurl(place: Place, span: Span, api: string): string {
  const params = apiParams(place, relativeOr(place, span));
  params.set("limit", "1000");
  if (place.asOf !== null) params.set("as_of", String(place.asOf));
  return `curl ${shellWord(`${api}?${params}`)}`;
}

/** The filter as a `realm query` command. */
export function asRealmQuery(place: Place, span: Span): string {
  const { query } = place;
  const { since, until } = relativeOr(place, span);
  const options: [string, string][] = LISTS.filter((name) => query.lists[name].length).map(
    (name) => [name, query.lists[name].join(",")],
  );
  if (since) options.push(["since", since]);
  if (until) options.push(["until", until]);
  if (query.q) options.push(["q", query.q]);
  options.push(...query.has.map((has): [string, string] => ["has", has]));
  options.push(...query.not.map((not): [string, string] => ["not", not]));
  return ["realm query", ...options.map(option)].join(" ");
}

/** The query string of a link that shows these very rows to whoever opens it, whenever. */
export function frozenPlace(place: Place, span: Span, asOf: number): string {
  const range = span.since || span.until
    ? { named: null, since: span.since ?? "", until: span.until ?? "" }
    : place.range;
  return writePlace({ ...place, range, asOf, live: false });
}

/** The address of an export: the whole query, as of the same cursor as the rows on the page. */
export function exportParams(
  params: URLSearchParams,
  asOf: number,
  format: "jsonl" | "csv",
): URLSearchParams {
  const all = new URLSearchParams(params);
  all.set("as_of", String(asOf));
  all.set("format", format);
  return all;
}

function option([name, value]: [string, string]): string {
  // With the equals sign a value may begin with a dash.
  return value.startsWith("-") ? `--${name}=${shellWord(value)}` : `--${name} ${shellWord(value)}`;
}

function relativeOr({ range }: Place, span: Span): Span {
  return range.named ? span : { since: range.since || null, until: range.until || null };
}

/** Whether anything is asked for at all. */
export function isFiltered(place: Place): boolean {
  return queryParams(place.query).size > 0;
}

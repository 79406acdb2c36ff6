import { html, type TemplateResult } from "lit";
import { apiUrl } from "../shared/api";
import { formatCount, formatTime } from "../shared/format";
import { copy } from "../shared/toast";
import { type Address, apiParams, LISTS, rangeText, type TimeSpan, writeAddress } from "./address";
import { joinNames } from "./filter-data";
import type { Results } from "./log-view";
/** How many events match, as of when, and how to copy or download them. */
export function resultLine(address: Address, results: Results): TemplateResult {
  const { shown } = results;
  const ready = shown.state === "ready" && results.view.state !== "failed";
  return html`<div class="result-line">
    <strong data-testid="total" data-total=${shown.total.count} data-relation=${shown.total.relation}
      >${ready ? totalText(results) : results.view.state === "failed" ? "No answer" : "Loading …"}</strong
    >
    <span class="soft">${rangeText(address.range, address.zone)}</span>
    <span
      class="soft as-of"
      ?hidden=${!ready}
      data-testid="as-of"
      data-as-of=${shown.asOf}
      title="Events that arrived later are not counted (cursor ${formatCount(shown.asOf)})"
      >as of ${address.asOf === null ? formatTime(shown.readAt, { zone: address.zone }) : "when the link was copied"}</span
    >
    <span class="result-tools" ?hidden=${!ready}>${copies(address, results)} ${downloads(results)}</span>
  </div>`;
}

function totalText({ shown }: Results): string {
  const { count, relation } = shown.total;
  return `${formatCount(count)}${relation === "gte" ? "+" : ""} ${count === 1 ? "event" : "events"}`;
}

function copies(address: Address, results: Results): TemplateResult {
  const curl = () => copy(asCurl(address, results.span, apiUrl("api/battle_log")), "curl command");
  const command = () => copy(asRealmQuery(address, results.span), "realm query");
  return html`<button class="quiet" @click=${() => copyLink(address, results)} title="Copy a link that always shows these rows">Copy link</button>
    <button class="quiet" @click=${curl} title="Copy as a curl command">curl</button>
    <button class="quiet" @click=${command} title="Copy as a realm query command">realm query</button>`;
}

function downloads({ shown }: Results): TemplateResult[] {
  const { params, asOf } = shown;
  return (["jsonl", "csv"] as const).map((format) => {
    const href = apiUrl("api/battle_log/export", exportParams(params, asOf, format));
    return html`<a class="button quiet" data-testid="export-${format}" href=${href} download title="Download these events as ${format.toUpperCase()}">${format.toUpperCase()}</a>`;
  });
}

/** Copy a link that shows these rows to others. */
export function copyLink(address: Address, results: Results): void {
  const query = frozenAddress(address, results.span, results.shown.asOf);
  void copy(location.origin + location.pathname + query, "Link");
}

/** A text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The query as a `curl` command; relative times stay relative. */
export function asCurl(address: Address, span: TimeSpan, api: string): string {
  const params = apiParams(address, relativeOr(address, span));
  params.set("limit", "1000");
  if (address.asOf !== null) params.set("as_of", String(address.asOf));
  return `curl ${shellWord(`${api}?${params}`)}`;
}

/** The query as a `realm query` command. */
export function asRealmQuery(address: Address, span: TimeSpan): string {
  const { query } = address;
  const { since, until } = relativeOr(address, span);
  const options: [string, string][] = LISTS.filter((name) => query.lists[name].length).map(
    (name) => [name, joinNames(query.lists[name])],
  );
  if (since) options.push(["since", since]);
  if (until) options.push(["until", until]);
  if (query.q) options.push(["q", query.q]);
  options.push(...query.has.map((has): [string, string] => ["has", has]));
  options.push(...query.not.map((not): [string, string] => ["not", not]));
  return ["realm query", ...options.map(option)].join(" ");
}

/** The query string of a link that always shows these rows. */
export function frozenAddress(address: Address, span: TimeSpan, asOf: number): string {
  const range = span.since || span.until
    ? { named: null, since: span.since ?? "", until: span.until ?? "" }
    : address.range;
  return writeAddress({ ...address, range, asOf, live: false });
}

/** The parameters of an export: the whole query, as of the same cursor as the rows. */
function exportParams(
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
  // A value that begins with a dash needs the equals sign.
  return value.startsWith("-") ? `--${name}=${shellWord(value)}` : `--${name} ${shellWord(value)}`;
}

function relativeOr({ range }: Address, span: TimeSpan): TimeSpan {
  return range.named ? span : { since: range.since || null, until: range.until || null };
}

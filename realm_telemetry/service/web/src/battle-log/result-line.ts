import { html, type TemplateResult } from "lit";
import { apiUrl } from "../shared/api";
import { formatCount } from "../shared/format";
import { copy } from "../shared/toast";
import { asCurl, asRealmQuery, exportParams, frozenPlace } from "./commands";
import type { LogPage } from "./log-page";
import { rangeText } from "./time-range";

/** How many events there are as of when, and ways to take them along. */
export function resultLine(page: LogPage): TemplateResult {
  const { place, results } = page;
  const { shown } = results;
  const ready = shown.state === "ready" && results.view.state !== "failed";
  return html`<div class="result-line">
    <strong data-testid="total" data-total=${shown.total.count} data-relation=${shown.total.relation}
      >${ready ? totalText(page) : results.view.state === "failed" ? "No answer" : "Loading …"}</strong
    >
    <span class="soft">${rangeText(place.range, place.zone)}</span>
    <span class="soft as-of" ?hidden=${!ready} data-testid="as-of" data-as-of=${shown.asOf} title="What arrived later is not counted here">as of ${formatCount(shown.asOf)}</span>
    <span class="result-tools" ?hidden=${!ready}>${copies(page)} ${downloads(page)}</span>
  </div>`;
}

function totalText({ results }: LogPage): string {
  const { count, relation } = results.shown.total;
  return `${formatCount(count)}${relation === "gte" ? "+" : ""} ${count === 1 ? "event" : "events"}`;
}

function copies(page: LogPage): TemplateResult {
  const { place, results } = page;
  const curl = () => copy(asCurl(place, results.span, apiUrl("api/battle_log")), "curl command");
  const command = () => copy(asRealmQuery(place, results.span), "realm query");
  return html`<button class="quiet" @click=${() => copyLink(page)} title="The same rows, whenever it is opened">Copy link</button>
    <button class="quiet" @click=${curl} title="Copy as a curl command">curl</button>
    <button class="quiet" @click=${command} title="Copy as a realm query command">realm query</button>`;
}

function downloads({ results }: LogPage): TemplateResult[] {
  const { params, asOf } = results.shown;
  return (["jsonl", "csv"] as const).map((format) => {
    const href = apiUrl("api/battle_log/export", exportParams(params, asOf, format));
    return html`<a class="button quiet" data-testid="export-${format}" href=${href} download>${format.toUpperCase()}</a>`;
  });
}

/** The address of these very rows, for others. */
export function copyLink({ place, results }: LogPage): void {
  const query = frozenPlace(place, results.span, results.shown.asOf);
  void copy(location.origin + location.pathname + query, "Link");
}

import { html, nothing, type TemplateResult } from "lit";
import type { ApiError } from "../shared/api";
import { formatCount, formatTime, plural } from "../shared/format";
import type { ChannelCounts } from "./channel-chips";
import type { LogPage } from "./log-page";

export function loadingRows(): TemplateResult {
  return html`<div class="skeleton">
    ${Array.from({ length: 12 }, () => html`<div class="skeleton-row"><span></span><span></span><span></span></div>`)}
  </div>`;
}

export function failure(error: ApiError, again: () => void): TemplateResult {
  return html`<div class="state" role="alert">
    <h2>${error.message}</h2>
    <p class="soft">${error.hint}</p>
    <button class="primary" @click=${again}>Try again</button>
  </div>`;
}

/** Below the last row that is loaded: how it goes on, or where the log begins. */
export function listEnd(page: LogPage, counts: ChannelCounts | null): TemplateResult {
  const { shown, goOn } = page.results;
  if (shown.error) {
    return html`<p class="notice error">${shown.error.message} ${shown.error.hint}</p>
      <button @click=${() => void shown.more()}>Try again</button>`;
  }
  if (shown.full) {
    return html`<p>${plural(shown.rows.length, "row")} are loaded, that is as far as one list goes.</p>
      <button @click=${goOn}>Go on below</button>`;
  }
  if (shown.complete) return retention(page, counts);
  const { rows, total, loadingMore } = shown;
  return html`<p class="soft">${loadingMore ? "Loading …" : `${formatCount(rows.length)} of ${formatCount(total.count)} looked at.`}</p>
    <button @click=${() => void shown.more()} ?disabled=${loadingMore}>Load more</button>
    ${retention(page, counts)}`;
}

/** Up to where the log goes back. */
export function retention({ place, results, go }: LogPage, counts: ChannelCounts | null): TemplateResult {
  if (!counts) return html`<p class="soft" data-testid="retention"></p>`;
  const oldest = counts.oldest ? new Date(counts.oldest) : null;
  if (!oldest) return html`<p class="soft" data-testid="retention">The log is empty.</p>`;
  const { since } = results.span;
  const all = !since || Date.parse(since) <= oldest.getTime();
  const showAll = () => go({ ...place, range: { named: "all", since: "", until: "" } });
  return html`<p class="soft" data-testid="retention">
      ${all ? "The log begins here," : "The range ends here; the log goes back to"}
      ${formatTime(oldest, { zone: place.zone, date: true })}. Events are kept for ${plural(counts.retention_days, "day")}.
    </p>
    ${all ? nothing : html`<button @click=${showAll}>Show all</button>`}`;
}

import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { type ApiError, getPage } from "../shared/api";
import { formatCount, formatTime, plural } from "../shared/format";
import { activeFiltersAndRange, type ActiveFilter } from "./active-filters";
import { dataKey, type Address, readAddress } from "./address";
import type { ChannelCounts } from "./filter-data";
import type { LogPage } from "./log-page";
import type { Results } from "./results";
import { apiParams, resolveRange } from "./time-range";

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

/** Below the last loaded row: how to load more, or where the log begins. */
export function listEnd(page: LogPage, results: Results, counts: ChannelCounts | null): TemplateResult {
  const { shown, continueBelow } = results;
  if (shown.error) {
    return html`<p class="notice error">${shown.error.message} ${shown.error.hint}</p>
      <button @click=${() => void shown.more()}>Try again</button>`;
  }
  if (shown.full) {
    return html`<p>${plural(shown.rows.length, "row")} loaded. One list shows no more.</p>
      <button @click=${continueBelow}>Continue with older events</button>`;
  }
  if (shown.complete) return retention(page, results, counts);
  const { rows, total, loadingMore } = shown;
  return html`<p class="soft">${loadingMore ? "Loading …" : `${formatCount(rows.length)} of ${formatCount(total.count)} loaded`}</p>
    <button @click=${() => void shown.more()} ?disabled=${loadingMore}>Load more</button>
    ${retention(page, results, counts)}`;
}

/** How far the log goes back. */
export function retention(
  { address, go }: LogPage,
  results: Results,
  counts: ChannelCounts | null,
): TemplateResult {
  if (!counts) return html`<p class="soft" data-testid="retention"></p>`;
  const oldest = counts.oldest ? new Date(counts.oldest) : null;
  if (!oldest) return html`<p class="soft" data-testid="retention">The log is empty.</p>`;
  const { since } = results.span;
  const all = !since || Date.parse(since) <= oldest.getTime();
  const showAll = () => go({ ...address, range: { named: "all", since: "", until: "" } });
  return html`<p class="soft" data-testid="retention">
      ${all ? "The log begins here:" : "The time range ends here. The log goes back to"}
      ${formatTime(oldest, { zone: address.zone, date: true })}. Events are kept for ${plural(counts.retention_days, "day")}.
    </p>
    ${all ? nothing : html`<button @click=${showAll}>Show all</button>`}`;
}

interface Answer extends ActiveFilter {
  count: number;
  relation: "eq" | "gte";
}

/** Nothing matches: how many events there are without each single filter. Sends `change-address`. */
@customElement("realm-empty")
export class RealmEmpty extends LitElement {
  @property({ attribute: false }) address!: Address;
  @state() private answers: Answer[] | null = null;
  private asked = "";

  protected override createRenderRoot() {
    return this;
  }

  protected override willUpdate(changes: PropertyValues): void {
    if (!changes.has("address") || dataKey(this.address) === this.asked) return;
    this.asked = dataKey(this.address);
    this.answers = null;
    void this.ask(this.asked);
  }

  private async ask(key: string): Promise<void> {
    const found = await Promise.all(activeFiltersAndRange(this.address).map(countWithout));
    if (key !== this.asked) return;
    this.answers = found
      .filter((one): one is Answer => one !== null && one.count > 0)
      .sort((a, b) => b.count - a.count);
  }

  protected override render() {
    return html`<div class="state" data-testid="empty">
      <h2>No events match</h2>
      ${this.answers === null
        ? html`<p class="soft">Checking which filter excludes them …</p>`
        : this.answers.length
          ? html`<p class="soft">Remove one of these to see events:</p>`
          : html`<p class="soft">Removing a single filter does not help.</p>
            <button @click=${() => this.leave(readAddress("?range=all"))}>Show all events</button>`}
      <ul class="removals">
        ${this.answers?.map(
          (one) => html`<li>
            <button @click=${() => this.leave(one.without)}>
              <span class="removal-label">Without ${one.label}</span>
              <strong>${one.relation === "gte" ? "at least " : nothing}${plural(one.count, "event")}</strong>
            </button>
          </li>`,
        )}
      </ul>
    </div>`;
  }

  private leave(address: Address): void {
    this.dispatchEvent(new CustomEvent("change-address", { detail: { address } }));
  }
}

async function countWithout(filter: ActiveFilter): Promise<Answer | null> {
  const { without } = filter;
  const params = apiParams(without, resolveRange(without.range, new Date(), without.zone));
  params.set("limit", "1");
  if (without.asOf !== null) params.set("as_of", String(without.asOf));
  try {
    const { total, relation } = await getPage(params);
    return { ...filter, count: total, relation };
  } catch {
    return null; // The rows' own request shows what is wrong with the service.
  }
}

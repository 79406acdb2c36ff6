import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { type ApiError, getPage } from "../shared/api";
import { Asking, wayOut } from "../shared/connection";
import { channelIcon, severityMark } from "../shared/catalog";
import { formatCount, formatTime, plural, shownText, timeMs, type Zone } from "../shared/format";
import { runHref } from "../shared/links";
import { sparkline } from "../shared/sparkline";
import type { RealmEvent } from "../stream/event";
import { type Address, apiParams, dataKey, type LogPage, readAddress, resolveRange } from "./address";
import { hitSnippet, marked } from "./event-filter";
import { type ActiveFilter, activeFiltersAndRange } from "./filter-bar";
import type { ChannelCounts } from "./filter-data";
import type { Results } from "./log-view";
import { type Group, groupCount, groupNotFinite, groupSeries, groupSources, groupText, type Item } from "./row-groups";

/** The DOM never has more rows than this, however high the window is. */
const MAX_ROWS = 150;
const OVERSCAN = 12;
/** A row shows no more of a message than fits a screen; the details have all of it. */
const SHOWN_CHARS = 400;
const SPARK_POINTS = 400;
const ROW_PX = 34;
const NARROW_ROW_PX = 58;
/** Load more rows when this many are left below the window. */
const AHEAD_ROWS = 60;

interface RowWindow {
  first: number;
  /** One after the last. */
  end: number;
}

/** Which rows of equal height to render at a scroll position. */
export function rowWindow(scrollTop: number, height: number, row: number, count: number): RowWindow {
  const wanted = Math.floor(Math.max(scrollTop, 0) / row) - OVERSCAN;
  const first = Math.max(0, Math.min(wanted, count - 1));
  const shown = Math.ceil(Math.max(height, 0) / row) + 1 + 2 * OVERSCAN;
  return { first, end: Math.min(count, first + Math.min(shown, MAX_ROWS)) };
}

/** Where to scroll so that a row is in view; the same position if it is already. */
export function scrollToRow(index: number, scrollTop: number, height: number, row: number): number {
  const top = index * row;
  if (top < scrollTop) return Math.max(0, top - row);
  if (top + row > scrollTop + height) return top + 2 * row - height;
  return scrollTop;
}

interface RowLook {
  zone: Zone;
  phrases: readonly string[][];
}

function rowContent(item: Item, look: RowLook): TemplateResult {
  if (item.type === "day") return html`<span class="row-day">${item.day}</span>`;
  return item.type === "event" ? eventRow(item.event, look) : groupRow(item.group, look);
}

function eventRow(event: RealmEvent, look: RowLook): TemplateResult {
  const message = shownText(event.message.slice(0, SHOWN_CHARS));
  const snippet = hitSnippet(event, look.phrases);
  return html`<time class="row-time mono" datetime=${event.timestamp}
      >${formatTime(new Date(timeMs(event)), { zone: look.zone, millis: true })}</time
    >
    <span class="row-severity">${severityMark(event.severity)}</span>
    <span class="row-channel" title=${event.channel} aria-hidden="true"
      >${channelIcon(event.channel)}</span
    >
    <span class="row-kind mono">${marked(event.kind, look.phrases)}</span>
    <span class="row-message"
      >${event.late ? html`<span class="row-late" title="Arrived more than a minute after it happened">late</span>` : nothing}<span
        class="row-text"
        >${marked(message, look.phrases)}</span
      >${snippet === null ? nothing : html`<span class="row-snippet mono" title="Where the search found it">${marked(snippet, look.phrases)}</span>`}</span
    >
    ${owner(event, look.phrases)}`;
}

/**
 * Whose event it is; the name of a run leads to its page.
 *
 * For the pointer only: an option of a list may have no link of its own. The details have one.
 */
function owner(event: RealmEvent, phrases: RowLook["phrases"]): TemplateResult {
  const name = marked(event.run_id ?? event.hero_id ?? event.source ?? "", phrases);
  if (event.run_id === null) return html`<span class="row-owner soft">${name}</span>`;
  const href = runHref(event.run_id);
  return html`<span class="row-owner soft"><span class="row-run" title="Open the run ${event.run_id}" @click=${(click: MouseEvent) => open(click, href)}>${name}</span></span>`;
}

function open(click: MouseEvent, href: string): void {
  // Selecting text to copy it must not open the run.
  if (!getSelection()?.isCollapsed) return;
  click.stopPropagation();
  if (click.ctrlKey || click.metaKey) window.open(href, "_blank", "noopener");
  else location.assign(href);
}

function groupRow(group: Group, look: RowLook): TemplateResult {
  const newest = group.members[0]!;
  const notFinite = group.ranks ? "" : groupNotFinite(group);
  const series = group.ranks ? null : groupSeries(group);
  return html`<time class="row-time mono" datetime=${newest.timestamp}
      >${formatTime(new Date(timeMs(newest)), { zone: look.zone, millis: true })}</time
    >
    <span class="row-severity row-fold"
      ><span aria-hidden="true">${group.open ? "▾" : "▸"}</span
      ><span class="visually-hidden">${group.open ? "group, open" : "group, closed"}</span>${group.ranks ? severityMark(newest.severity) : nothing}</span
    >
    <span class="row-channel" aria-hidden="true">${channelIcon(newest.channel)}</span>
    <span class="row-kind mono">${group.kind}</span>
    <span class="row-message"
      ><strong>${groupCount(group)}</strong> ${groupSources(group)} <span class="soft">${groupText(group)}</span> ${notFinite ? html`<b class="ink-error">${notFinite}</b>` : nothing}
      ${series ? sparkline(series.values.slice(-SPARK_POINTS), 96, 16) : nothing}</span
    >
    ${owner(newest, [])}`;
}

/**
 * The rows: a virtual list of lines of equal height.
 *
 * Sends `activate` with the clicked item, `near-end` when more rows are needed soon, and `moved`
 * after scrolling.
 */
@customElement("realm-log-list")
export class RealmLogList extends LitElement {
  @property({ attribute: false }) items: readonly Item[] = [];
  @property({ attribute: false }) look: RowLook = { zone: "local", phrases: [] };
  @property() current = "";
  @property({ attribute: false }) end: TemplateResult | typeof nothing = nothing;
  @state() private top = 0;
  @state() private height = 600;
  @state() private rowPx = ROW_PX;
  @query(".log-scroll") private scroller!: HTMLElement;
  @query(".log-rows") private rows!: HTMLElement;

  private readonly narrow = matchMedia("(max-width: 900px)");
  private readonly sized = new ResizeObserver(() => this.measure());

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.narrow.addEventListener("change", this.measure);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.narrow.removeEventListener("change", this.measure);
    this.sized.disconnect();
  }

  protected override firstUpdated(): void {
    this.sized.observe(this.scroller);
    this.measure();
  }

  /** Whether the newest row is in view, so that new rows may appear above it. */
  get atTop(): boolean {
    return !this.scroller || this.scroller.scrollTop < this.rowPx / 2;
  }

  /** The index of the first row in view. */
  get firstInView(): number {
    return Math.ceil(this.top / this.rowPx);
  }

  toTop(): void {
    this.scroller.scrollTop = 0;
    this.top = 0;
  }

  reveal(index: number): void {
    const { scrollTop, clientHeight } = this.scroller;
    this.scroller.scrollTop = scrollToRow(index, scrollTop, clientHeight, this.rowPx);
  }

  focusRows(): void {
    this.rows.focus({ preventScroll: true });
  }

  private readonly measure = (): void => {
    this.rowPx = this.narrow.matches ? NARROW_ROW_PX : ROW_PX;
    this.height = this.scroller?.clientHeight ?? this.height;
  };

  private scrolled(): void {
    this.top = this.scroller.scrollTop;
    this.dispatchEvent(new CustomEvent("moved"));
  }

  protected override updated(changes: PropertyValues): void {
    if (!changes.has("items") && !changes.has("top") && !changes.has("height")) return;
    const { end } = rowWindow(this.top, this.height, this.rowPx, this.items.length);
    if (end > this.items.length - AHEAD_ROWS) this.dispatchEvent(new CustomEvent("near-end"));
  }

  private activate(item: Item): void {
    // Selecting text to copy it must not open the row.
    if (item.type === "day" || !getSelection()?.isCollapsed) return;
    this.focusRows();
    this.dispatchEvent(new CustomEvent("activate", { detail: item }));
  }

  protected override render() {
    const { first, end } = rowWindow(this.top, this.height, this.rowPx, this.items.length);
    const shown = this.items.slice(first, end);
    const current = shown.some((item) => item.key === this.current);
    return html`<div class="log-scroll" data-testid="list" @scroll=${this.scrolled}>
      ${this.items.length
        ? html`<div
            class="log-rows"
            role="listbox"
            tabindex="0"
            aria-label="Events, newest first"
            aria-activedescendant=${current ? rowId(this.current) : nothing}
            .style=${`height: ${this.items.length * this.rowPx}px`}
          >
            ${repeat(
              shown,
              (item) => item.key,
              (item, at) => this.row(item, first + at),
            )}
          </div>`
        : nothing}
      <div class="log-end">${this.end}</div>
    </div>`;
  }

  private row(item: Item, index: number): TemplateResult {
    const position = `transform: translateY(${index * this.rowPx}px)`;
    if (item.type === "day") {
      return html`<div class="row day" role="presentation" .style=${position}>
        ${rowContent(item, this.look)}
      </div>`;
    }
    const event = item.type === "event" ? item.event : null;
    return html`<div
      class="row ${item.type} ${event?.severity ?? (item.type === "group" && item.group.ranks ? item.group.members[0]!.severity : "")} ${item.type === "event" && item.member ? "member" : ""}"
      id=${rowId(item.key)}
      role="option"
      aria-selected=${item.key === this.current}
      aria-posinset=${index + 1}
      aria-setsize=${this.items.length}
      data-event-id=${event?.id ?? nothing}
      data-group=${item.type === "group" ? item.group.kind : nothing}
      .style=${position}
      @click=${() => this.activate(item)}
    >
      ${rowContent(item, this.look)}
    </div>`;
  }
}

function rowId(key: string): string {
  return `row-${key.replace(/[^\w-]/g, "_")}`;
}

export function loadingRows(): TemplateResult {
  return html`<div class="skeleton">
    ${Array.from({ length: 12 }, () => html`<div class="skeleton-row"><span></span><span></span><span></span></div>`)}
  </div>`;
}

export function failure(error: ApiError, again: () => void): TemplateResult {
  return html`<div class="state" role="alert">
    <h2>${error.message}</h2>
    <p class="soft">${wayOut(error)}</p>
    <button class="primary" @click=${again}>Try again</button>
  </div>`;
}

/** Below the last loaded row: how to load more, or where the log begins. */
export function listEnd(page: LogPage, results: Results, counts: ChannelCounts | null): TemplateResult {
  const { shown, continueBelow } = results;
  if (shown.error) {
    return html`<p class="notice error">${shown.error.message} ${wayOut(shown.error)}</p>
      <button @click=${shown.again}>Try again</button>`;
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
  private readonly asking = new Asking();

  protected override createRenderRoot() {
    return this;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.asking.stop();
  }

  protected override willUpdate(changes: PropertyValues): void {
    if (!changes.has("address") || dataKey(this.address) === this.asked) return;
    this.asked = dataKey(this.address);
    this.answers = null;
    void this.ask(this.asked);
  }

  private async ask(key: string): Promise<void> {
    const found = await this.asking.until(() => Promise.all(activeFiltersAndRange(this.address).map(countWithout)));
    if (key !== this.asked || !found) return;
    this.answers = found
      .filter((one) => one.count > 0)
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

async function countWithout(filter: ActiveFilter): Promise<Answer> {
  const { without } = filter;
  const params = apiParams(without, resolveRange(without.range, new Date(), without.zone));
  params.set("limit", "1");
  if (without.asOf !== null) params.set("as_of", String(without.asOf));
  const { total, relation } = await getPage(params);
  return { ...filter, count: total, relation };
}

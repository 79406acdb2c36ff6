import { LitElement, html, nothing } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { apiUrl } from "../shared/api";
import { channelIcon, severityMark } from "../shared/catalog";
import { formatCount, formatTime, timeMs } from "../shared/format";
import type { RealmEvent } from "../stream/types";
import type { Feed, FeedRow } from "./feed";

/** The last events; asks the feed to hold still while somebody reads further down. */
@customElement("realm-event-list")
export class EventList extends LitElement {
  @property({ attribute: false }) feed!: Feed;
  @property({ type: Boolean }) paused = false;
  @property({ type: Number }) version = 0;
  @query(".feed") private box!: HTMLElement;
  @state() private away = false;
  private readonly selected = () => this.look();

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("selectionchange", this.selected);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener("selectionchange", this.selected);
  }

  /** Hold while scrolled away, or while text of the list is selected. */
  private look(): void {
    const selection = getSelection();
    const reading = !!selection && !selection.isCollapsed && this.box.contains(selection.anchorNode);
    this.away = reading || this.box.scrollTop > 4;
    this.feed.hold(this.away || this.paused);
    this.requestUpdate();
  }

  private toTop(): void {
    getSelection()?.removeAllRanges();
    this.box.scrollTop = 0;
    this.look();
  }

  override updated(): void {
    this.feed.hold(this.away || this.paused);
  }

  protected override render() {
    const { rows, waiting } = this.feed;
    return html`<section class="card events" aria-label="Last events">
      <div class="card-head">
        <h2>Last events</h2>
        ${this.feed.coalesced
          ? html`<span class="soft" data-testid="coalesced"
              >${formatCount(this.feed.coalesced)} routine events folded into the curves</span
            >`
          : nothing}
      </div>
      ${waiting.length
        ? html`<button class="new-pill primary" data-testid="new-pill" @click=${this.toTop} ?disabled=${this.paused}>
            ↑ ${formatCount(waiting.length)} new
          </button>`
        : nothing}
      <div class="feed" tabindex="0" role="region" aria-label="Events, newest first" @scroll=${this.look}>
        ${rows.length ? html`<ol>${repeat(rows, keyOf, (row) => this.row(row))}</ol>` : this.empty()}
      </div>
    </section>`;
  }

  private empty() {
    return html`<div class="empty-state">
      <p>Nothing has happened yet.</p>
      <p class="soft">A process that calls <code>realm.emit(…)</code>, or <code>realm demo</code>, shows up here at once.</p>
    </div>`;
  }

  private row(row: FeedRow) {
    return row.type === "event" ? eventRow(row.event) : gapRow(row);
  }
}

const keyOf = (row: FeedRow) => (row.type === "event" ? row.event.id : row.key);

function eventRow(event: RealmEvent) {
  return html`<li class="event ${event.severity}" data-event-id=${event.id}>
    <time datetime=${event.timestamp} title=${event.timestamp}
      >${formatTime(new Date(timeMs(event)), { zone: "local" })}</time
    >
    <span class="channel" title=${event.channel}><span aria-hidden="true">${channelIcon(event.channel)}</span><span class="visually-hidden">${event.channel}</span></span>
    ${severityMark(event.severity)}
    <a class="message" href=${eventHref(event)}>${event.message.slice(0, 500)}</a>
  </li>`;
}

function gapRow(row: FeedRow & { type: "gap" }) {
  const range: Record<string, string> = {};
  if (row.since) range["since"] = row.since;
  if (row.until) range["until"] = row.until;
  return html`<li class="gap" data-testid="gap-row">
    What happened in between is not in this view (${row.reason.replace("_", " ")}).
    <a href=${apiUrl("battle-log", range)}>Look it up in the Battle Log</a>
  </li>`;
}

/** The Battle Log around an event, with it selected. */
export function eventHref(event: RealmEvent): string {
  return aroundHref(timeMs(event), event);
}

export function aroundHref(atMs: number, event: RealmEvent | null): string {
  const at = (ms: number) => new Date(ms).toISOString();
  const params: Record<string, string> = { since: at(atMs - 300_000), until: at(atMs + 300_000) };
  if (event) params["event"] = event.id;
  return apiUrl("battle-log", params);
}


import { LitElement, html, nothing } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import { formatCount } from "../shared/format";
import { makeRow } from "./event-row";
import type { Feed } from "./feed";
import { logHref } from "./links";

const DRAW_MS = 100;
/** Frames do not come to a tab that nobody sees. */
const HIDDEN_MS = 250;
const TOP_PX = 4;

/**
 * The last events; asks the feed to hold still while somebody reads further down.
 *
 * Rows are put in one by one, oldest first, instead of being compared with all that are there: a
 * new one shows up in the next frame, whatever else the page is drawing.
 */
@customElement("realm-event-list")
export class EventList extends LitElement {
  @property({ attribute: false }) feed!: Feed;
  @property({ type: Boolean }) paused = false;
  @query(".feed") private box!: HTMLElement;
  @query("ol") private list!: HTMLOListElement;
  private reading = false;
  private shown = 0;
  private due = false;
  private drawnAt = 0;
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

  /** Something came; it is drawn in the next frame, at most ten times a second. */
  arrived(): void {
    if (this.due) return;
    this.due = true;
    const wait = this.drawnAt + DRAW_MS - performance.now();
    if (wait > 0) setTimeout(() => this.inFrame(), wait);
    else this.inFrame();
  }

  private inFrame(): void {
    const timer = setTimeout(() => draw(), HIDDEN_MS);
    const frame = requestAnimationFrame(() => draw());
    const draw = () => {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
      this.due = false;
      this.drawnAt = performance.now();
      this.sync();
      this.requestUpdate();
    };
  }

  private sync(): void {
    const { rows, added } = this.feed;
    const fresh = Math.min(added - this.shown, rows.length);
    this.shown = added;
    if (!this.list) return;
    for (let index = fresh - 1; index >= 0; index--) this.list.prepend(makeRow(rows[index]!));
    while (this.list.childElementCount > rows.length) this.list.lastElementChild!.remove();
  }

  /** Hold while scrolled away, or while text of the list is selected. */
  private look(): void {
    const selection = getSelection();
    const selecting = !!selection && !selection.isCollapsed && this.box.contains(selection.anchorNode);
    this.reading = selecting || this.box.scrollTop > TOP_PX;
    this.settle();
  }

  private settle(): void {
    const before = this.feed.added;
    this.feed.hold(this.reading || this.paused);
    if (this.feed.added !== before) this.arrived();
  }

  /** Go so many rows down, or up, with the keyboard. */
  walk(by: number): void {
    const links = [...this.list.querySelectorAll<HTMLElement>(".message")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  }

  /** Let go of what is selected and show the newest. */
  toTop(): void {
    if (this.contains(document.activeElement)) (document.activeElement as HTMLElement).blur();
    getSelection()?.removeAllRanges();
    this.box.scrollTop = 0;
    this.look();
  }

  protected override firstUpdated(): void {
    this.sync();
    this.requestUpdate();
  }

  protected override updated(): void {
    this.settle();
  }

  protected override render() {
    const { rows, waitingCount, routine, coalesced } = this.feed;
    return html`<section class="card events" aria-label="Last events">
      <div class="card-head">
        <h2>Last events</h2>
        ${coalesced
          ? html`<span class="soft" data-testid="coalesced" title="Curves and figures have the latest of each; the Battle Log has all."
              >${formatCount(routine)} routine events, ${formatCount(coalesced)} coalesced</span
            >`
          : nothing}
      </div>
      ${waitingCount
        ? html`<button class="new-pill primary" data-testid="new-pill" @click=${this.toTop} ?disabled=${this.paused}>
            ↑ ${formatCount(waitingCount)} new
          </button>`
        : nothing}
      <div class="feed" tabindex="0" role="region" aria-label="Events, newest first" @scroll=${this.look}>
        <ol ?hidden=${!rows.length}></ol>
        ${rows.length
          ? html`<p class="feed-end"><a href=${logHref({})}>Earlier events are in the Battle Log</a></p>`
          : this.empty()}
      </div>
    </section>`;
  }

  private empty() {
    return html`<div class="empty-state">
      <p>${this.feed.status === "live" ? "Nothing has happened yet." : "Waiting for the service…"}</p>
      <p class="soft">A process that calls <code>realm.emit(…)</code>, or <code>realm demo</code>, shows up here at once.</p>
    </div>`;
  }
}

import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { Item } from "./row-groups";
import { type RowLook, rowContent } from "./row-template";
import { rowWindow, scrollToRow } from "./virtual-window";

const ROW_PX = 34;
const NARROW_ROW_PX = 58;
/** Ask for further rows when this many are left below the window. */
const AHEAD_ROWS = 60;

export type ListEvent = CustomEvent<Item>;

/**
 * The rows: a virtual list of lines of equal height.
 *
 * Sends `activate` with the item that was clicked, `near-end` when further rows would soon be
 * in view, and `moved` when it was scrolled.
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

  private readonly narrow = matchMedia("(max-width: 700px)");
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

  /** Whether the newest row is in view, and new ones would not move what somebody reads. */
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
    // Whoever marks text to copy it does not want to open the row.
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
    const place = `transform: translateY(${index * this.rowPx}px)`;
    if (item.type === "day") {
      return html`<div class="row day" role="presentation" .style=${place}>
        ${rowContent(item, this.look)}
      </div>`;
    }
    const event = item.type === "event" ? item.event : null;
    return html`<div
      class="row ${item.type} ${event?.severity ?? ""} ${item.type === "event" && item.member ? "member" : ""}"
      id=${rowId(item.key)}
      role="option"
      aria-selected=${item.key === this.current}
      aria-posinset=${index + 1}
      aria-setsize=${this.items.length}
      data-event-id=${event?.id ?? nothing}
      data-group=${item.type === "group" ? item.group.kind : nothing}
      .style=${place}
      @click=${() => this.activate(item)}
    >
      ${rowContent(item, this.look)}
    </div>`;
  }
}

function rowId(key: string): string {
  return `row-${key.replace(/[^\w-]/g, "_")}`;
}

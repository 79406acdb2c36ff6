import { html, LitElement, nothing, svg, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { exactText } from "../shared/exact-json";
import { formatCount, plural } from "../shared/format";
import { copy } from "../shared/toast";
import type { Query } from "./address";
import { filteredBy, type Path, pathText } from "./event-filter";
import { marked } from "./text-search";

/** Children rendered at once: a megabyte must open as fast as a line. */
const CHUNK = 100;
const TEXT_CHUNK = 1_000;
const MAX_TEXT = 100_000;

/** SVG, because not every font has these symbols. */
const icon = (shape: unknown): TemplateResult =>
  html`<svg class="icon" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">${shape}</svg>`;

const COPY_ICON = icon(svg`<rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 3.2V3A1.5 1.5 0 0 0 9 1.5H3.5A1.5 1.5 0 0 0 2 3v5.5A1.5 1.5 0 0 0 3.5 10h.2" />`);

/** A branch of a tree. */
const PATH_ICON = icon(svg`<circle cx="3.5" cy="3" r="1.5" /><path d="M3.5 4.5V11A1.5 1.5 0 0 0 5 12.5h5.5M3.5 7.5h7" /><circle cx="12" cy="7.5" r="1.5" /><circle cx="12" cy="12.5" r="1.5" />`);

/**
 * A value as a tree; only open branches are rendered.
 *
 * Sends `filter` with the query that keeps or excludes a value.
 */
@customElement("realm-json")
export class RealmJson extends LitElement {
  @property({ attribute: false }) value: unknown = null;
  @property({ attribute: false }) path: Path = [];
  @property({ attribute: false }) query!: Query;
  @property({ attribute: false }) phrases: readonly string[][] = [];
  @property({ type: Boolean }) open = false;
  @state() private shown = CHUNK;
  @state() private chars = TEXT_CHUNK;

  protected override createRenderRoot() {
    return this;
  }

  private get nested(): object | null {
    return typeof this.value === "object" ? this.value : null;
  }

  protected override render() {
    return html`<div class="json-line">${this.nested ? this.branch(this.nested) : this.leaf()}</div>
      ${this.nested && this.open ? this.branches(this.nested) : nothing}`;
  }

  private branch(value: object): TemplateResult {
    const count = Array.isArray(value) ? value.length : Object.keys(value).length;
    const sign = Array.isArray(value) ? `[${count}]` : `{${count}}`;
    return html`<button
        class="json-fold"
        aria-expanded=${this.open}
        @click=${() => (this.open = !this.open)}
      >
        <span aria-hidden="true">${this.open ? "▾" : "▸"}</span>
        <span class="json-key">${this.key}</span> <span class="soft">${sign}</span>
      </button>
      ${this.actions()}`;
  }

  private leaf(): TemplateResult {
    return html`<span class="json-key">${this.key}</span>
      <span class="json-value ${this.value === null ? "null" : typeof this.value}"
        >${this.text()}</span
      >
      ${this.actions()}`;
  }

  private get key(): string {
    return String(this.path.at(-1) ?? "event");
  }

  private text(): TemplateResult {
    if (typeof this.value !== "string") return marked(String(this.value), this.phrases);
    const shown = this.value.slice(0, this.chars);
    const left = this.value.length - shown.length;
    const more = Math.min(left, MAX_TEXT);
    return html`${marked(shown, this.phrases)}${left > 0
      ? html`<button class="quiet" @click=${() => (this.chars += more)}>
          … show ${plural(more, "more character", "more characters")}
        </button>`
      : nothing}`;
  }

  private branches(value: object): TemplateResult {
    const keys = Array.isArray(value) ? [...value.slice(0, this.shown).keys()] : Object.keys(value);
    const total = Array.isArray(value) ? value.length : keys.length;
    return html`<div class="json-children">
      ${keys.slice(0, this.shown).map(
        (key) => html`<realm-json
          .value=${(value as Record<string | number, unknown>)[key]}
          .path=${[...this.path, key]}
          .query=${this.query}
          .phrases=${this.phrases}
          ?open=${key === "details" && this.path.length === 0}
        ></realm-json>`,
      )}
      ${total > this.shown
        ? html`<button class="quiet" @click=${() => (this.shown += CHUNK)}>
            Show ${Math.min(CHUNK, total - this.shown)} more of ${formatCount(total)}
          </button>`
        : nothing}
    </div>`;
  }

  private actions(): TemplateResult {
    const name = pathText(this.path) || "the event";
    const keep = this.nested ? null : filteredBy(this.query, this.path, this.value, true);
    const drop = this.nested ? null : filteredBy(this.query, this.path, this.value, false);
    return html`<span class="json-actions">
      ${keep
        ? html`<button aria-label="Only events where ${name} has this value" title="Only events with this value" @click=${() => this.filter(keep)}>=</button>`
        : nothing}
      ${drop
        ? html`<button aria-label="Exclude events where ${name} has this value" title="Exclude events with this value" @click=${() => this.filter(drop)}>≠</button>`
        : nothing}
      <button aria-label="Copy the value of ${name}" title="Copy value" @click=${this.copyValue}>${COPY_ICON}</button>
      <button aria-label="Copy the path ${name}" title="Copy path" @click=${() => copy(pathText(this.path), "Path")}>
        ${PATH_ICON}
      </button>
    </span>`;
  }

  private filter(query: Query): void {
    this.dispatchEvent(new CustomEvent("filter", { detail: query, bubbles: true }));
  }

  private copyValue(): void {
    const { value } = this;
    void copy(typeof value === "string" ? value : exactText(value), "Value");
  }
}

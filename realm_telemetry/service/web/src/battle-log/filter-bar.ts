import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { CHANNELS, SEVERITIES } from "../shared/catalog";
import { formatCount, formatTime, type Zone } from "../shared/format";
import { labelOf, type Labels, term, USUAL_LABELS } from "../shared/labels";
import { type Address, exclusion, type ListName, LISTS, momentMs, PRESETS, type Query, type Range, rangeText, sameRange, splitValues, toggled, withList } from "./address";
import { FIELDS } from "./fields";
import { type ChannelCounts, joinNames, splitNames } from "./filter-data";

const TYPING_MS = 300;

/** One chip for each channel with its count of the last 24 hours, without filters. */
export function channelChips(
  counts: ChannelCounts | null,
  chosen: readonly string[],
  toggle: (name: string) => void,
): TemplateResult {
  return html`<div class="channels" role="group" aria-label="Channels, with their number of events in the last 24 hours">
    ${Object.entries(CHANNELS).map(([name, look]) => {
      const channel = counts?.channels[name];
      const count = counts ? formatCount(channel?.count ?? 0) : "–";
      return html`<button
        class="channel ${counts && !channel?.count ? "none" : ""} ${chosen.includes(exclusion(name)) ? "excluded" : ""}"
        data-testid="channel-${name}"
        aria-pressed=${chosen.includes(name)}
        aria-label="${look.label}${chosen.includes(exclusion(name)) ? ", excluded" : ""}, ${count} in 24 hours"
        title=${channel?.description ?? look.label}
        @click=${() => toggle(name)}
      >
        <span aria-hidden="true">${look.icon}</span> ${look.label}
        <span class="channel-count" aria-hidden="true">${count}</span>
      </button>`;
    })}
  </div>`;
}

/** Channels and severities have buttons. */
const TYPED_FIELDS = FIELDS.filter(({ name }) => name !== "channel" && name !== "severity");

/** A change of address; all changes while `typing` are one step of Back. */
export interface Change {
  address: Address;
  typing?: boolean;
}

/** Search, severities, time range, and one field for each list. Sends `change-address` with a Change. */
@customElement("realm-filter-bar")
export class RealmFilterBar extends LitElement {
  @property({ attribute: false }) address!: Address;
  /** Values to suggest, by list. */
  @property({ attribute: false }) known: Readonly<Partial<Record<ListName, readonly string[]>>> = {};
  @property({ attribute: false }) labels: Labels = USUAL_LABELS;
  @state() private open = false;
  @query("[data-testid=search]") private search!: HTMLInputElement;
  private timer: ReturnType<typeof setTimeout> | undefined;

  protected override createRenderRoot() {
    return this;
  }

  focusSearch(): void {
    this.search.focus();
    this.search.select();
  }

  private send(address: Address, typing = false): void {
    // Without `as_of`: a changed query is about the log as it is now.
    const detail: Change = { address: { ...address, asOf: null }, typing };
    this.dispatchEvent(new CustomEvent<Change>("change-address", { detail }));
  }

  private typed(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.searchNow(true), TYPING_MS);
  }

  private searchNow(typing: boolean): void {
    clearTimeout(this.timer);
    const q = this.search.value.trim();
    if (q !== this.address.query.q) this.send({ ...this.address, query: { ...this.address.query, q } }, typing);
  }

  private searchKey(event: KeyboardEvent): void {
    if (event.key === "Enter") this.searchNow(false);
    else if (event.key === "Escape") this.search.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private setList(name: ListName, text: string): void {
    this.send({ ...this.address, query: withList(this.address.query, name, splitNames(text)) });
  }

  private setRange(range: Range): void {
    this.send({ ...this.address, range });
  }

  protected override render() {
    const active = activeFilters(this.address);
    return html`<div class="filters ${this.open ? "open" : ""}" role="search" aria-label="Filter events">
      <div class="filter-line">
        <input
          class="search"
          type="search"
          data-testid="search"
          aria-label="Search messages and details"
          placeholder='Words or a "phrase"'
          .value=${this.address.query.q}
          @input=${this.typed}
          @keydown=${this.searchKey}
        />
        <div class="segments" role="group" aria-label="Severity">${SEVERITIES.map((one) => this.severity(one.name))}</div>
        <div class="segments" role="group" aria-label="Time range">
          ${PRESETS.map(
            ({ label, range }) => html`<button
              aria-pressed=${sameRange(range, this.address.range)}
              @click=${() => this.setRange(range)}
            >
              ${label}
            </button>`,
          )}
        </div>
        <button
          aria-expanded=${this.open}
          aria-controls="more-filters"
          @click=${() => (this.open = !this.open)}
        >
          ${this.open ? "Fewer filters" : "More filters"}
        </button>
      </div>
      <div class="more-filters" id="more-filters" ?hidden=${!this.open}>
        ${TYPED_FIELDS.map(({ name, label }) => this.field(name, label))}
        ${this.moment("since", "From")} ${this.moment("until", "Until")}
      </div>
      ${this.chips(active)}
    </div>`;
  }

  private severity(name: (typeof SEVERITIES)[number]["name"]): TemplateResult {
    const look = SEVERITIES.find((one) => one.name === name)!;
    return html`<button
      data-testid="severity-${name}"
      aria-pressed=${this.address.query.lists.severity.includes(name)}
      @click=${() => this.send({ ...this.address, query: toggled(this.address.query, "severity", name) })}
    >
      <span class="severity ${name}"
        ><span class="severity-icon" aria-hidden="true">${look.icon}</span>${look.label}</span
      >
    </button>`;
  }

  private field(name: ListName, label: string): TemplateResult {
    return html`<label
      >${term(labelOf(this.labels, name, label), name)}
      <input
        name=${name}
        list="known-${name}"
        placeholder="any"
        autocomplete="off"
        .value=${joinNames(this.address.query.lists[name], ", ")}
        @change=${(event: Event) => this.setList(name, (event.target as HTMLInputElement).value)}
      />
      <datalist id="known-${name}">
        ${(this.known[name] ?? []).map((value) => html`<option value=${value}></option>`)}
      </datalist></label
    >`;
  }

  private moment(end: "since" | "until", label: string): TemplateResult {
    const { range, zone } = this.address;
    return html`<label
      ><span>${label}${zone === "utc" ? " (UTC)" : ""}</span>
      <input
        name=${end}
        type="datetime-local"
        step="1"
        .value=${toInput(range[end], zone)}
        @change=${(event: Event) => {
          const text = fromInput((event.target as HTMLInputElement).value, zone);
          this.setRange({ ...range, named: null, [end]: text });
        }}
    /></label>`;
  }

  private chips(active: ReturnType<typeof activeFilters>): TemplateResult | typeof nothing {
    const { range, zone, asOf } = this.address;
    const preset = PRESETS.some((one) => sameRange(one.range, range));
    if (!active.length && preset && asOf === null) return nothing;
    const all = { ...this.address, query: { ...this.address.query, q: "", has: [], not: [], lists: emptied(this.address) } };
    return html`<ul class="chips" aria-label="Active filters">
      ${preset ? nothing : this.chip(rangeText(range, zone), () => this.setRange(PRESETS[2]!.range))}
      ${asOf === null ? nothing : this.chip(FROZEN_LABEL, () => this.send(this.address))}
      ${active.map(({ label, without }) => this.chip(label, () => this.send(without)))}
      ${active.length > 1
        ? html`<li><button class="quiet" @click=${() => this.send(all)}>Clear filters</button></li>`
        : nothing}
    </ul>`;
  }

  private chip(label: string, remove: () => void): TemplateResult {
    return html`<li class="filter-chip">
      <span>${label}</span>
      <button class="quiet" aria-label="Remove ${label}" @click=${remove}>✕</button>
    </li>`;
  }
}

function emptied(address: Address): Address["query"]["lists"] {
  const names = Object.keys(address.query.lists) as ListName[];
  return Object.fromEntries(names.map((name) => [name, []])) as unknown as Address["query"]["lists"];
}

function toInput(text: string, zone: Zone): string {
  const ms = text ? momentMs(text) : NaN;
  return Number.isNaN(ms) ? "" : formatTime(new Date(ms), { zone, date: true }).replace(" ", "T");
}

function fromInput(text: string, zone: Zone): string {
  if (!text) return "";
  const moment = new Date(zone === "utc" ? `${text}Z` : text);
  return Number.isNaN(moment.getTime()) ? "" : moment.toISOString();
}

/** For an address with `as_of`: its rows stay the same when events arrive. */
export const FROZEN_LABEL = "frozen: later events are hidden";

/** One filter, and the address without it. */
export interface ActiveFilter {
  label: string;
  without: Address;
}

/** Each filter of an address: for chips, and for what to remove when nothing matches. */
export function activeFilters(address: Address): ActiveFilter[] {
  const { query } = address;
  const found: ActiveFilter[] = [];
  const put = (label: string, changed: typeof query) =>
    found.push({ label, without: { ...address, query: changed } });
  if (query.q) put(`text: ${query.q}`, { ...query, q: "" });
  for (const name of LISTS) {
    const { wanted, unwanted } = splitValues(query.lists[name]);
    if (wanted.length) put(`${name}: ${wanted.join(", ")}`, withList(query, name, unwanted.map(exclusion)));
    for (const value of unwanted) put(`${name} ≠ ${value}`, withoutValue(query, name, exclusion(value)));
  }
  for (const has of query.has) {
    put(has.replace(":", " = "), { ...query, has: query.has.filter((one) => one !== has) });
  }
  for (const not of query.not) {
    put(not.replace(":", " ≠ "), { ...query, not: query.not.filter((one) => one !== not) });
  }
  return found;
}

function withoutValue(query: Query, name: ListName, value: string): Query {
  return withList(query, name, query.lists[name].filter((one) => one !== value));
}

/** When nothing matches, the time range and `as_of` count as filters too. */
export function activeFiltersAndRange(address: Address): ActiveFilter[] {
  const found = activeFilters(address);
  if (address.range.named !== "all") {
    const without: Address = { ...address, range: { named: "all", since: "", until: "" } };
    found.push({ label: `time: ${rangeText(address.range, address.zone)}`, without });
  }
  if (address.asOf !== null) {
    found.push({ label: FROZEN_LABEL, without: { ...address, asOf: null } });
  }
  return found;
}

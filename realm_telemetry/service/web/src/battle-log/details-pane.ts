import { html, LitElement, nothing, type PropertyValues, svg, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { getEvents, getPage } from "../shared/api";
import { Asking } from "../shared/connection";
import { channelIcon, severityMark } from "../shared/catalog";
import { exactText } from "../shared/exact-json";
import { formatAge, formatCount, formatTime, plural, shownText, timeMs, type Zone } from "../shared/format";
import { type Labels, term, USUAL_LABELS } from "../shared/labels";
import { runHref } from "../shared/links";
import { copy } from "../shared/toast";
import { tracebackCard } from "../shared/traceback-card";
import { type RealmEvent, ROUTINE_KINDS } from "../stream/event";
import { type Query, seconds } from "./address";
import { filteredBy, marked, type Path, pathText } from "./event-filter";

const LAST_EVENTS = 20;
const AROUND = 15;
/** So many are asked for, to find those of the run among them. */
const LOOKED_AT = "100";
/** word: its name in the glossary, if it differs. */
type Fact = readonly [name: string, value: string | TemplateResult | null, word?: string];

/** Kinds for which the events just before matter most. */
const ENDS: ReadonlySet<string> = new Set(["process_lost", "job_failed"]);

/**
 * Everything about one event.
 *
 * Sends `close`, `open` with another event, `around` to show its time without filters, `link` to
 * copy its link, and `filter` from the tree.
 */
@customElement("realm-details")
export class RealmDetails extends LitElement {
  @property({ attribute: false }) event!: RealmEvent;
  @property({ attribute: false }) query!: Query;
  @property({ attribute: false }) phrases: readonly string[][] = [];
  @property() zone: Zone = "local";
  @property({ attribute: false }) labels: Labels = USUAL_LABELS;
  @state() private context: readonly RealmEvent[] | null = null;
  @state() private leadUp: { events: readonly RealmEvent[]; routine: number } | null = null;
  /** Whether the context has events of other runs too. */
  @state() private isWide = false;
  @state() private problem = "";
  private readonly askingBefore = new Asking();
  private readonly askingContext = new Asking();
  /** The event with its details first: they matter most. */
  private tree: Record<string, unknown> = {};

  protected override createRenderRoot() {
    return this;
  }

  protected override willUpdate(changes: PropertyValues): void {
    const before = changes.get("event") as RealmEvent | undefined;
    if (!changes.has("event") || before?.id === this.event.id) return;
    this.context = this.leadUp = null;
    this.askingBefore.stop();
    this.askingContext.stop();
    this.problem = "";
    this.isWide = this.event.run_id === null;
    const { details, ...rest } = this.event;
    this.tree = { details, ...rest };
    if (ENDS.has(this.event.kind)) void this.askBefore(this.event);
  }

  private async askBefore(event: RealmEvent): Promise<void> {
    const params = new URLSearchParams({
      producer: event.producer,
      until: seconds(event.time_unix_nano),
      limit: String(LAST_EVENTS),
    });
    const of = (kinds: string[]) => getPage(new URLSearchParams([...params, ["kind", kinds.join(",")]]));
    const ask = async () => {
      const routine = [...ROUTINE_KINDS];
      const [loud, quiet] = await Promise.all([of(routine.map((kind) => `!${kind}`)), of(routine)]);
      return { events: loud.events, routine: quiet.total };
    };
    await this.attempt(this.askingBefore, ask, (found) => (this.leadUp = found));
  }

  private async askContext(): Promise<void> {
    const { event } = this;
    const ask = () => getEvents<RealmEvent[]>(`api/battle_log/${event.id}/context`, { before: LOOKED_AT, after: LOOKED_AT });
    await this.attempt(this.askingContext, ask, (found) => (this.context = found.reverse()));
  }

  private async attempt<T>(asking: Asking, ask: () => Promise<T>, take: (found: T) => void) {
    const found = await asking.until(ask, (error) => (this.problem = error.message));
    if (!found) return;
    take(found);
    this.problem = "";
  }

  private send(name: string, detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  protected override render() {
    const { event } = this;
    const time = new Date(timeMs(event));
    return html`<section class="details" data-testid="details" aria-label="Event details">
      <header class="details-head">
        <div class="details-title">
          ${severityMark(event.severity)}
          <h2>${channelIcon(event.channel)} <span class="mono">${event.kind}</span></h2>
          <button class="quiet" aria-label="Close details" @click=${() => this.send("close")}>✕</button>
        </div>
        <p class="details-message">${marked(shownText(event.message.slice(0, 20_000)), this.phrases)}</p>
        <p class="soft">
          <time datetime=${event.timestamp}
            >${formatTime(time, { zone: this.zone, date: true, millis: true })}</time
          >
          ${this.zone === "utc" ? "UTC" : ""} ·
          ${formatAge((Date.now() - time.getTime()) / 1_000)}${event.late ? " · arrived late" : ""}
        </p>
      </header>
      <div class="details-body">
        <div class="details-actions">
          <button @click=${() => this.send("link")}>Copy link</button>
          <button @click=${() => copy(exactText(event), "Event")}>Copy JSON</button>
          <button aria-expanded=${this.context !== null} @click=${this.toggleContext} title="The ${AROUND} events before it and after it">Context</button>
          <button @click=${() => this.send("around")} title="Show all events of five minutes before and after it, without filters">All events ± 5 min</button>
        </div>
        ${this.problem ? html`<p class="notice error">${this.problem}</p>` : nothing}
        ${this.facts(this.first())} ${this.exception()}
        ${this.context ? this.contextPart(this.context) : nothing}
        ${this.leadUp ? this.neighbours(leadUpTitle(this.leadUp), this.leadUp.events) : nothing}
        <realm-json .value=${this.tree} .query=${this.query} .phrases=${this.phrases} open></realm-json>
        <div class="soft internals">${this.facts(this.internals())}</div>
      </div>
    </section>`;
  }

  /** The nearest events before and after it, of its run unless all are wanted. */
  private near(events: readonly RealmEvent[]): readonly RealmEvent[] {
    const shown = this.isWide ? events : events.filter((event) => event.run_id === this.event.run_id);
    const at = shown.findIndex((event) => event.id === this.event.id);
    return shown.slice(Math.max(0, at - AROUND), at + AROUND + 1);
  }

  private contextPart(events: readonly RealmEvent[]): TemplateResult {
    const of = this.isWide ? "of all runs" : "of its run";
    return html`${this.neighbours(`Up to ${AROUND} events before and after it, ${of}`, this.near(events))}
      ${this.event.run_id === null ? nothing : html`<button class="quiet" @click=${() => (this.isWide = !this.isWide)}>${this.isWide ? "Only its run" : "Other runs too"}</button>`}`;
  }

  private toggleContext(): void {
    if (this.context) this.context = null;
    else void this.askContext();
  }

  private exception(): TemplateResult | typeof nothing {
    const { details, rank } = this.event;
    const text = (name: string) => (typeof details[name] === "string" ? (details[name] as string) : null);
    const traceback = text("traceback");
    if (traceback === null) return nothing;
    return tracebackCard({ error: text("error"), error_type: text("error_type"), thread: text("thread"), rank, at: null, traceback });
  }

  private first(): Fact[] {
    const { run_id: run, rank, hero_id, campaign_id, source, details } = this.event;
    const step = details["step"];
    return [
      ["Run", run === null ? null : html`<a href=${runHref(run)} dir="auto">${run}</a>`],
      ["Rank", rank === null ? null : String(rank)],
      ["Step", typeof step === "number" ? formatCount(step) : null],
      [this.labels.hero, hero_id, "hero"],
      [this.labels.campaign, campaign_id, "campaign"],
      ["Source", source],
    ];
  }

  private internals(): Fact[] {
    const { event } = this;
    return [
      ["Producer", event.producer],
      // process_lost has the largest possible number, which says nothing to a reader.
      ["Event number", Number.isSafeInteger(event.number) ? formatCount(event.number) : null],
      ["Trace", event.trace_id],
      ["Span", event.span_id],
      ["Cursor", formatCount(event.cursor)],
    ];
  }

  private facts(facts: readonly Fact[]): TemplateResult {
    return html`<dl class="facts">
      ${facts.map(([name, value, word]) =>
        value
          ? html`<div>
              <dt>${term(name, word)}</dt>
              <dd class="mono">${value}</dd>
            </div>`
          : nothing,
      )}
    </dl>`;
  }

  private neighbours(title: string, events: readonly RealmEvent[]): TemplateResult {
    return html`<section class="neighbours">
      <h3>${title}</h3>
      ${events.length ? nothing : html`<p class="soft">None left in the log.</p>`}
      <ul>
        ${events.map(
          (event) => html`<li>
            <button
              class="neighbour ${event.severity}"
              aria-current=${event.id === this.event.id ? "true" : nothing}
              @click=${() => this.send("open", event)}
            >
              <time class="mono">${formatTime(new Date(timeMs(event)), { zone: this.zone })}</time>
              ${severityMark(event.severity)}
              <span class="neighbour-text">${shownText(event.message.slice(0, 200))}</span>
            </button>
          </li>`,
        )}
      </ul>
    </section>`;
  }
}

function leadUpTitle({ events, routine }: { events: readonly RealmEvent[]; routine: number }): string {
  const quiet = routine ? `; ${plural(routine, "routine event")} left out` : "";
  return `Last ${plural(events.length, "event")} of this producer before it${quiet}`;
}

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

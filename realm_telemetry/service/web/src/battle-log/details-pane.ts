import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { ApiError, getEvents, getPage } from "../shared/api";
import { channelIcon, severityMark } from "../shared/catalog";
import { exactText } from "../shared/exact-json";
import { formatAge, formatCount, formatTime, plural, timeMs, type Zone } from "../shared/format";
import { runHref } from "../shared/links";
import { copy } from "../shared/toast";
import type { RealmEvent } from "../stream/event";
import type { Query } from "./address";
import "./json-tree";
import { marked } from "./text-search";
import { seconds } from "./time-range";

const LAST_EVENTS = 20;
const AROUND = "15";
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
  @state() private context: readonly RealmEvent[] | null = null;
  @state() private leadUp: readonly RealmEvent[] | null = null;
  @state() private problem = "";
  /** The event with its details first: they matter most. */
  private tree: Record<string, unknown> = {};

  protected override createRenderRoot() {
    return this;
  }

  protected override willUpdate(changes: PropertyValues): void {
    const before = changes.get("event") as RealmEvent | undefined;
    if (!changes.has("event") || before?.id === this.event.id) return;
    this.context = this.leadUp = null;
    this.problem = "";
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
    await this.attempt(event, async () => (await getPage(params)).events, (found) => (this.leadUp = found));
  }

  private async askContext(): Promise<void> {
    const { event } = this;
    const params = { before: AROUND, after: AROUND };
    const ask = () => getEvents<RealmEvent[]>(`api/battle_log/${event.id}/context`, params);
    await this.attempt(event, ask, (found) => (this.context = found.reverse()));
  }

  private async attempt<T>(event: RealmEvent, ask: () => Promise<T>, take: (found: T) => void) {
    try {
      const found = await ask();
      if (event.id === this.event.id) take(found);
    } catch (error) {
      this.problem = error instanceof ApiError ? error.message : String(error);
    }
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
        <p class="details-message">${marked(event.message.slice(0, 20_000), this.phrases)}</p>
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
          <button aria-expanded=${this.context !== null} @click=${this.toggleContext} title="The ${AROUND} events before it and after it, without filters">Context</button>
          <button @click=${() => this.send("around")} title="Show all events of five minutes before and after it, without filters">All events ± 5 min</button>
        </div>
        ${this.problem ? html`<p class="notice error">${this.problem}</p>` : nothing}
        ${this.facts()}
        ${this.context ? this.neighbours(`Up to ${AROUND} events before and after it, without filters`, this.context) : nothing}
        ${this.leadUp ? this.neighbours(`Last ${plural(this.leadUp.length, "event")} of this producer before it`, this.leadUp) : nothing}
        <realm-json .value=${this.tree} .query=${this.query} .phrases=${this.phrases} open></realm-json>
      </div>
    </section>`;
  }

  private toggleContext(): void {
    if (this.context) this.context = null;
    else void this.askContext();
  }

  private facts(): TemplateResult {
    const { event } = this;
    const run = event.run_id;
    const facts: [string, string | TemplateResult | null][] = [
      ["Run", run === null ? null : html`<a href=${runHref(run)} dir="auto">${run}</a>`],
      ["Rank", event.rank === null ? null : String(event.rank)],
      ["Hero", event.hero_id],
      ["Campaign", event.campaign_id],
      ["Source", event.source],
      ["Producer", event.producer],
      // process_lost has the largest possible number, which says nothing to a reader.
      ["Event number", Number.isSafeInteger(event.number) ? formatCount(event.number) : null],
      ["Trace", event.trace_id],
      ["Span", event.span_id],
      ["Cursor", formatCount(event.cursor)],
    ];
    return html`<dl class="facts">
      ${facts.map(([name, value]) =>
        value
          ? html`<div>
              <dt>${name}</dt>
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
              <span class="neighbour-text">${event.message.slice(0, 200)}</span>
            </button>
          </li>`,
        )}
      </ul>
    </section>`;
  }
}

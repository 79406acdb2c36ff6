import { LitElement, html, nothing, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { ApiError, apiUrl, getJson, getPage } from "../shared/api";
import { formatCount, formatTime, plural, timeMs, type Zone } from "../shared/format";
import { shortcuts, type Shortcut } from "../shared/shortcuts";
import { say } from "../shared/toast";
import { eventStream } from "../stream/event-stream";
import type { ConnectionStatus, RealmEvent, StreamMessage } from "../stream/types";
import { Arrivals } from "./arrivals";
import { type ChannelCounts, channelChips } from "./channel-chips";
import { asCurl, asRealmQuery, exportParams, frozenPlace } from "./commands";
import "./details-pane";
import { seconds } from "./details-pane";
import "./empty-state";
import "./filter-bar";
import type { Change, RealmFilterBar } from "./filter-bar";
import { type Item, buildItems } from "./grouping";
import "./histogram";
import { copy } from "./json-tree";
import "./log-list";
import type { RealmLogList } from "./log-list";
import { LogView } from "./log-view";
import { matcher } from "./matching";
import { EMPTY_QUERY, type ListName, type Place, type Query, dataKey, readPlace, toggled, writePlace } from "./place";
import { type Span, apiParams, rangeText, resolveRange } from "./range";
import "./summary-view";
import { phrasesOf } from "./words";

const DRAW_MS = 100;
const LIVE_MS = 1_000;
const COUNTS_MS = 60_000;
const CONNECT_MS = 1_000;
/** Collapsed routine rows make short lists: so many rows are loaded to fill one by themselves. */
const MAX_FILL = 3_000;
/** How far to page for an error before the range is moved to it. */
const ERROR_PAGES = 4;
const AROUND_MS = 5 * 60_000;

const CONNECTION: Record<ConnectionStatus, string> = {
  live: "Live",
  connecting: "Connecting",
  reconnecting: "Reconnecting",
};

/** The Battle Log: what happened. The address holds all of its state; see place.ts. */
@customElement("realm-battle-log")
export class RealmBattleLog extends LitElement {
  @state() private place: Place = readPlace(location.search);
  @state() private selected: RealmEvent | null = null;
  @state() private selectError = "";
  @state() private counts: ChannelCounts | null = null;
  @state() private kinds: readonly string[] = [];
  @state() private status: ConnectionStatus = "connecting";
  @query("realm-log-list") private list!: RealmLogList | null;
  @query("realm-filter-bar") private bar!: RealmFilterBar | null;

  private span: Span = { since: null, until: null };
  private view!: LogView;
  private stale: LogView | null = null;
  private readonly arrivals = new Arrivals(() => false);
  private readonly opened = new Set<number>();
  private items: Item[] = [];
  private currentKey = "";
  private typing = false;
  private connected = false;
  private draw: ReturnType<typeof setTimeout> | undefined;
  private readonly ends: (() => void)[] = [];

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // The rows first: the service counts for everything else with the same few threads.
    void this.ask().then(() => Promise.all([this.loadCounts(), this.loadKinds()]));
    void this.select(this.place.event);
    if (this.place.live) this.connect();
    if (location.hash === "#search") void this.updateComplete.then(() => this.bar?.focusSearch());
    this.ends.push(
      shortcuts(window, this.keys()),
      every(COUNTS_MS, () => void this.loadCounts()),
      every(LIVE_MS, () => void this.follow()),
      listen(window, "popstate", () => this.arrive(readPlace(location.search))),
    );
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.view.stop();
    this.connected = false;
    for (const end of this.ends.splice(0)) end();
  }

  // Places

  /** Go to a place as one step that Back undoes; typing, or moving along rows, is a single step. */
  private go(place: Place, { typing = false, replace = false } = {}): void {
    const address = location.pathname + writePlace(place);
    if (replace || (typing && this.typing)) history.replaceState(null, "", address);
    else if (address !== location.pathname + location.search) history.pushState(null, "", address);
    this.typing = typing;
    this.arrive(place);
  }

  private arrive(place: Place): void {
    const before = this.place;
    this.place = place;
    if (dataKey(before) !== dataKey(place)) void this.ask();
    if (before.zone !== place.zone) this.rebuild();
    if (before.event !== place.event) void this.select(place.event);
    if (place.live && !before.live) void this.catchUp();
  }

  /** Ask the service for what the place shows; the rows of before stay until the answer is there. */
  private async ask(): Promise<void> {
    this.span = resolveRange(this.place.range, new Date(), this.place.zone);
    this.view?.stop();
    this.stale = this.view?.state === "ready" ? this.view : null;
    const params = apiParams(this.place, this.span);
    const view = new LogView(params, this.place.asOf, () => this.viewChanged(view));
    this.view = view;
    this.arrivals.restart(matcher(this.place.query, this.span));
    this.requestUpdate();
    await view.load();
    setTimeout(() => this.isConnected && this.connect(), CONNECT_MS);
  }

  private viewChanged(view: LogView): void {
    if (view !== this.view) return;
    const first = view.state === "ready" && !view.histogram && view.rows.length > 0;
    if (view.state !== "loading" && this.stale) {
      this.stale = null;
      this.opened.clear();
      this.currentKey = this.place.event ?? "";
      this.list?.toTop();
    }
    if (view.state === "ready") this.arrivals.caughtUp(view.asOf);
    this.rebuild();
    if (first && this.place.event) void this.updateComplete.then(() => this.revealSelected());
  }

  private rebuild(): void {
    const { rows, complete } = this.shown;
    const { zone } = this.place;
    const dayOf = dayReader(zone);
    const days = rows.order === "time";
    this.items = buildItems(rows.all, { opened: this.opened, dayOf, complete, days });
    this.requestUpdate();
  }

  private get shown(): LogView {
    return this.stale ?? this.view;
  }

  // Live

  /** The rows come first: what is new matters once one sees what there is. */
  private connect(): void {
    if (this.connected) return;
    this.connected = true;
    this.ends.push(eventStream.messages((message) => this.hear(message)));
  }

  private hear(message: StreamMessage): void {
    if (message.type === "status") this.status = message.status;
    if (this.place.asOf !== null || !this.arrivals.take(message)) return;
    this.draw ??= setTimeout(() => requestAnimationFrame(() => this.drawArrivals()), DRAW_MS);
  }

  private drawArrivals(): void {
    this.draw = undefined;
    if (this.place.live && !this.held) this.view.arrive(this.arrivals.drain());
    this.requestUpdate();
  }

  /** Nothing may move what somebody reads: away from the top, or with text marked. */
  private get held(): boolean {
    return !this.list?.atTop || marksText();
  }

  private async follow(): Promise<void> {
    const quiet = !this.arrivals.count && !this.arrivals.broken;
    if (!this.place.live || document.hidden || this.held || quiet) return;
    await this.view.refresh(() => !this.held);
  }

  private async catchUp(): Promise<void> {
    if (this.place.asOf !== null) return this.go({ ...this.place, asOf: null });
    getSelection()?.removeAllRanges();
    this.list?.toTop();
    await this.view.refresh(() => !this.held);
  }

  private toggleLive(): void {
    const live = !this.place.live;
    this.connect();
    const { range } = this.place;
    // A range that has ended would never show anything new.
    const open = live && range.until ? { ...range, until: "" } : range;
    const named = live && range.named === "last-night" ? { named: null, since: this.span.since ?? "", until: "" } : open;
    this.go({ ...this.place, live, range: named, asOf: live ? null : this.place.asOf });
    say(live ? "Live tail on" : "Live tail off");
  }

  // Selection

  private async revealSelected(): Promise<void> {
    await this.list?.updateComplete;
    const at = this.items.findIndex((item) => item.key === this.place.event);
    if (at >= 0) this.list?.reveal(at);
  }

  private async select(id: string | null): Promise<void> {
    this.selectError = "";
    if (!id) {
      this.selected = null;
      return;
    }
    this.currentKey = id;
    const loaded = this.view.rows.all.find((event) => event.id === id);
    if (loaded) {
      this.selected = loaded;
      return;
    }
    try {
      const found = await getJson<RealmEvent>(`api/battle_log/${encodeURIComponent(id)}`);
      if (this.place.event === id) this.selected = found;
    } catch (error) {
      this.selected = null;
      this.selectError = error instanceof ApiError ? error.message : String(error);
    }
  }

  private activate(item: Item): void {
    this.currentKey = item.key;
    if (item.type === "group") this.toggleGroup(item);
    else if (item.type === "event") this.open(item.event, this.place.event !== null && this.place.event !== item.event.id);
  }

  private open(event: RealmEvent, replace = false): void {
    this.go({ ...this.place, event: event.id }, { replace });
  }

  private toggleGroup({ group }: Extract<Item, { type: "group" }>): void {
    const { members, open } = group;
    if (!open) this.opened.add(members.at(-1)!.cursor);
    else for (const event of members) this.opened.delete(event.cursor);
    this.rebuild();
  }

  private move(by: number): void {
    const { items } = this;
    let at = items.findIndex((item) => item.key === this.currentKey);
    if (at < 0) at = (this.list?.firstInView ?? 0) - (by > 0 ? 1 : 0);
    do at += by;
    while (items[at]?.type === "day");
    const item = items[at];
    if (!item) return;
    this.stand(item, at);
  }

  /** Make an item the current one; with the details open they follow. */
  private stand(item: Item, at: number): void {
    this.currentKey = item.key;
    this.list?.reveal(at);
    if (this.place.event && item.type === "event") this.open(item.event, true);
    this.requestUpdate();
  }

  private async nextError(): Promise<void> {
    const wanted = this.place.query.lists.severity;
    if (wanted.length && !wanted.includes("error")) return say("The severity filter leaves errors out");
    for (let page = 0; page <= ERROR_PAGES; page++) {
      const at = this.errorBelow();
      if (at >= 0) return this.openError(at);
      if (this.view.complete || this.view.full) break;
      await this.view.more();
    }
    await this.jumpToError();
  }

  private openError(at: number): void {
    const item = this.items[at];
    if (item?.type !== "event") return;
    this.stand(item, at);
    this.open(item.event, this.place.event !== null);
  }

  private errorBelow(): number {
    const current = this.items.findIndex((item) => item.key === this.currentKey);
    const from = current < 0 ? (this.list?.firstInView ?? 0) : current + 1;
    return this.items.findIndex(
      (item, at) => at >= from && item.type === "event" && item.event.severity === "error",
    );
  }

  /** Too far to page there: let the range end at the error. */
  private async jumpToError(): Promise<void> {
    const last = this.view.rows.all.at(-1);
    if (this.view.complete || !last || this.view.rows.order === "arrival") return say("No further error");
    const params = new URLSearchParams(this.view.params);
    params.set("severity", "error");
    params.set("until", seconds(last.time_unix_nano));
    params.set("limit", "1");
    const error = (await getPage(params)).events[0];
    if (!error) return say("No further error");
    const until = seconds(String(BigInt(error.time_unix_nano) + 1n));
    const range = { named: null, since: this.span.since ?? "", until };
    this.go({ ...this.place, range, event: error.id });
    say("Moved to an older error; Back returns");
  }

  private closeOrClear(): void {
    if (this.place.event) this.go({ ...this.place, event: null });
    else this.currentKey = "";
    this.requestUpdate();
  }

  private keys(): Shortcut[] {
    return [
      { key: "/", label: "Search", run: () => this.bar?.focusSearch() },
      { key: "j", label: "Next event (older)", run: () => this.move(1) },
      { key: "k", label: "Previous event (newer)", run: () => this.move(-1) },
      { key: "Enter", label: "Open the event or the group", run: () => this.enter() },
      { key: "Escape", shown: "Esc", label: "Close the details", run: () => this.closeOrClear() },
      { key: " ", label: "Live tail on or off", run: () => this.toggleLive() },
      { key: "e", label: "Next error", run: () => void this.nextError() },
      { key: "?", label: "This list", run: () => undefined },
    ];
  }

  private enter(): void {
    const item = this.items.find((one) => one.key === this.currentKey);
    if (item) this.activate(item);
  }

  // Side data

  private async loadCounts(): Promise<void> {
    if (document.hidden) return;
    const ask = getJson<ChannelCounts>("api/battle_log/channels", { since: "24h" });
    // The page's own query says what is wrong with the service.
    this.counts = await ask.catch(() => this.counts);
  }

  private async loadKinds(): Promise<void> {
    const params = { by: "kind", since: "30d" };
    const rows = await getJson<{ kind: string }[]>("api/battle_log/summary", params).catch(() => []);
    this.kinds = rows.map((row) => row.kind).sort();
  }

  private known(): Partial<Record<ListName, readonly string[]>> {
    const recent = this.shown.rows.all.slice(0, 1_000);
    const of = (field: "run_id" | "hero_id" | "campaign_id" | "producer") =>
      [...new Set(recent.map((event) => event[field]))].filter((value): value is string => !!value).slice(0, 50);
    return { kind: this.kinds, run: of("run_id"), hero: of("hero_id"), campaign: of("campaign_id"), producer: of("producer") };
  }

  private nearEnd(): void {
    const { view } = this;
    if (this.stale || view.state !== "ready" || view.complete || view.full || view.error) return;
    // Scrolling asks for more; by itself the list only fills the window.
    if (view.rows.length > MAX_FILL && this.list?.atTop) return;
    void view.more();
  }

  // Drawing

  protected override render() {
    return html`<realm-header page="battle-log" .tools=${this.tools()}></realm-header>
      <main class="battle-log ${this.selected ? "with-details" : ""} view-${this.place.view}">
        <h1 class="visually-hidden">Battle Log</h1>
        ${this.place.view === "summary"
          ? html`<realm-summary .place=${this.place} @change-place=${this.changed}></realm-summary>`
          : this.log()}
      </main>`;
  }

  private readonly changed = (event: CustomEvent<Change>): void =>
    this.go(event.detail.place, { typing: event.detail.typing ?? false });

  private tools(): TemplateResult {
    const { place, status } = this;
    const summary = place.view === "summary";
    return html`<span class="pill status-${status}" data-testid="status-pill">${CONNECTION[status]}</span>
      <button
        role="switch"
        aria-checked=${place.live}
        class="switch"
        data-testid="live-tail"
        @click=${() => this.toggleLive()}
      >
        <span class="switch-dot" aria-hidden="true"></span> Live tail
      </button>
      <button
        data-testid="zone"
        title="Switch between local time and UTC"
        @click=${() => this.go({ ...place, zone: place.zone === "utc" ? "local" : "utc" })}
      >
        ${place.zone === "utc" ? "UTC" : "Local time"}
      </button>
      <button aria-pressed=${summary} data-testid="summary" @click=${() => this.go({ ...place, view: summary ? "log" : "summary" })}>
        Summary
      </button>`;
  }

  private log(): TemplateResult {
    const { place, shown } = this;
    return html`<div class="log-controls">
        <realm-filter-bar .place=${place} .known=${this.known()} @change-place=${this.changed}></realm-filter-bar>
        ${channelChips(this.counts, place.query.lists.channel, (name) =>
          this.go({ ...place, query: toggled(place.query, "channel", name), asOf: null }),
        )}
        ${this.resultLine()}
        <realm-histogram
          .histogram=${shown.histogram}
          zone=${place.zone}
          @range=${(event: CustomEvent<{ since: string; until: string }>) =>
            this.go({ ...place, range: { named: null, ...event.detail }, live: false })}
        ></realm-histogram>
      </div>
      <div class="log-columns">
        <div class="log-column ${this.stale ? "stale" : ""}" aria-busy=${this.view.state === "loading"}>
          ${this.rowsOrState()} ${this.pill()}
        </div>
        ${this.pane()}
      </div>`;
  }

  private resultLine(): TemplateResult {
    const { place, span, shown } = this;
    const { total } = shown;
    const ready = shown.state === "ready" && this.view.state !== "failed";
    const exported = (format: "jsonl" | "csv") =>
      apiUrl("api/battle_log/export", exportParams(shown.params, shown.asOf, format));
    return html`<div class="result-line">
      <strong data-testid="total" data-total=${total.count} data-relation=${total.relation}
        >${ready ? `${formatCount(total.count)}${total.relation === "gte" ? "+" : ""} ${total.count === 1 ? "event" : "events"}` : this.view.state === "failed" ? "No answer" : "Loading …"}</strong
      >
      <span class="soft">${rangeText(place.range, place.zone)}</span>
      <span class="soft as-of" ?hidden=${!ready} data-testid="as-of" data-as-of=${shown.asOf} title="What arrived later is not counted here">as of ${formatCount(shown.asOf)}</span>
      <span class="result-tools" ?hidden=${!ready}>
        <button class="quiet" @click=${this.copyLink} title="The same rows, whenever it is opened">Copy link</button>
        <button class="quiet" @click=${() => copy(asCurl(place, span, apiUrl("api/battle_log")), "curl command")}>curl</button>
        <button class="quiet" @click=${() => copy(asRealmQuery(place, span), "realm query")}>realm query</button>
        <a class="button quiet" data-testid="export-jsonl" href=${exported("jsonl")} download>JSONL</a>
        <a class="button quiet" data-testid="export-csv" href=${exported("csv")} download>CSV</a>
      </span>
    </div>`;
  }

  private readonly copyLink = (): void => {
    const query = frozenPlace(this.place, this.span, this.shown.asOf);
    void copy(location.origin + location.pathname + query, "Link");
  };

  private rowsOrState(): TemplateResult {
    const { view, shown } = this;
    if (view.state === "failed") return this.failure(view.error!);
    if (shown.state === "loading") return loading();
    if (!this.items.length && shown.complete) {
      return html`<realm-empty .place=${this.place} @change-place=${this.changed}></realm-empty>
        <div class="log-end">${this.retention()}</div>`;
    }
    return html`<realm-log-list
      .items=${this.items}
      .look=${{ zone: this.place.zone, phrases: phrasesOf(this.place.query.q) }}
      .end=${this.end()}
      current=${this.currentKey}
      @activate=${(event: CustomEvent<Item>) => this.activate(event.detail)}
      @near-end=${this.nearEnd}
      @moved=${() => this.requestUpdate()}
    ></realm-log-list>`;
  }

  private failure(error: ApiError): TemplateResult {
    return html`<div class="state" role="alert">
      <h2>${error.message}</h2>
      <p class="soft">${error.hint}</p>
      <button class="primary" @click=${() => void this.ask()}>Try again</button>
    </div>`;
  }

  private pill(): TemplateResult | typeof nothing {
    const { count, broken } = this.arrivals;
    if (this.view.state !== "ready" || (!count && !broken)) return nothing;
    if (this.place.live && !this.held) return nothing;
    return html`<button class="pill new-pill" data-testid="new-pill" @click=${() => void this.catchUp()}>
      <span aria-hidden="true">↑</span> ${count ? `${formatCount(count)} new` : "Show what is new"}
    </button>`;
  }

  private end(): TemplateResult {
    const { shown } = this;
    if (shown.error) {
      return html`<p class="notice error">${shown.error.message} ${shown.error.hint}</p>
        <button @click=${() => void shown.more()}>Try again</button>`;
    }
    if (shown.full) {
      return html`<p>${plural(shown.rows.length, "row")} are loaded, that is as far as one list goes.</p>
        <button @click=${this.goOn}>Go on below</button>`;
    }
    if (!shown.complete) {
      return html`<p class="soft">${shown.loadingMore ? "Loading …" : `${formatCount(shown.rows.length)} of ${formatCount(shown.total.count)} looked at.`}</p>
        <button @click=${() => void shown.more()} ?disabled=${shown.loadingMore}>Load more</button>
        ${this.retention()}`;
    }
    return this.retention();
  }

  private readonly goOn = (): void => {
    const last = this.shown.rows.all.at(-1);
    if (!last) return;
    const until = seconds(last.time_unix_nano);
    this.go({ ...this.place, range: { named: null, since: this.span.since ?? "", until }, live: false });
  };

  private retention(): TemplateResult {
    const { counts, place, span } = this;
    if (!counts) return html`<p class="soft" data-testid="retention"></p>`;
    const oldest = counts.oldest ? new Date(counts.oldest) : null;
    if (!oldest) return html`<p class="soft" data-testid="retention">The log is empty.</p>`;
    const begins = formatTime(oldest, { zone: place.zone, date: true });
    const all = !span.since || Date.parse(span.since) <= oldest.getTime();
    return html`<p class="soft" data-testid="retention">
        ${all ? "The log begins here," : "The range ends here; the log goes back to"} ${begins}.
        Events are kept for ${plural(counts.retention_days, "day")}.
      </p>
      ${all
        ? nothing
        : html`<button @click=${() => this.go({ ...place, range: { named: "all", since: "", until: place.range.until } })}>
            Show all
          </button>`}`;
  }

  private pane(): TemplateResult | typeof nothing {
    if (this.selectError) {
      return html`<section class="details" data-testid="details" aria-label="Details">
        <div class="state"><h2>${this.selectError}</h2>
          <p class="soft">Retention may have removed it.</p>
          <button @click=${() => this.closeOrClear()}>Close</button></div>
      </section>`;
    }
    const { selected, place } = this;
    if (!selected) return nothing;
    return html`<realm-details
      .event=${selected}
      .query=${place.query}
      .phrases=${phrasesOf(place.query.q)}
      zone=${place.zone}
      @close=${() => this.closeOrClear()}
      @open=${(event: CustomEvent<RealmEvent>) => this.open(event.detail)}
      @around=${() => this.around(selected)}
      @link=${this.copyLink}
      @filter=${(event: CustomEvent<Query>) => this.go({ ...place, query: event.detail, asOf: null })}
    ></realm-details>`;
  }

  private around(event: RealmEvent): void {
    const at = timeMs(event);
    const iso = (ms: number) => new Date(ms).toISOString();
    const range = { named: null, since: iso(at - AROUND_MS), until: iso(at + AROUND_MS) };
    this.go({ ...this.place, query: EMPTY_QUERY, range, asOf: null, live: false, event: event.id });
  }
}

/** The day of an event; writing a date for each of thousands of rows would take longer than drawing. */
function dayReader(zone: Zone): (event: RealmEvent) => string {
  const days = new Map<number, string>();
  return (event) => {
    // No zone begins its days between two quarters of an hour.
    const quarter = Math.floor(timeMs(event) / 900_000);
    let day = days.get(quarter);
    if (day === undefined) {
      day = formatTime(new Date(quarter * 900_000), { zone, date: true }).slice(0, 10);
      days.set(quarter, day);
    }
    return day;
  };
}

function marksText(): boolean {
  const selection = getSelection();
  return !!selection && !selection.isCollapsed && selection.toString().trim() !== "";
}

function loading(): TemplateResult {
  return html`<div class="skeleton">
    ${Array.from({ length: 12 }, () => html`<div class="skeleton-row"><span></span><span></span><span></span></div>`)}
  </div>`;
}

function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms);
  return () => clearInterval(timer);
}

function listen(target: EventTarget, name: string, run: () => void): () => void {
  target.addEventListener(name, run);
  return () => target.removeEventListener(name, run);
}

import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { connectionPill, downNotice, pillWord, problemNotice, wayOut } from "../shared/connection";
import { formatCount, zoneName } from "../shared/format";
import "../shared/page-header";
import { type Shortcut, shortcuts } from "../shared/shortcuts";
import { howToBegin } from "../shared/snippet";
import type { RealmEvent } from "../stream/event";
import { type Address, dataKey, type LogPage, type Query, readAddress, type Step, toggled, writeAddress } from "./address";
import "./daily-summary";
import "./details-pane";
import { phrasesOf } from "./event-filter";
import { type Change, channelChips, type RealmFilterBar } from "./filter-bar";
import { FilterData } from "./filter-data";
import "./histogram";
import { LiveTail } from "./live-tail";
import { failure, listEnd, loadingRows, type RealmLogList, retention } from "./log-list";
import "./log-list";
import { Results } from "./log-view";
import { copyLink, resultLine } from "./result-line";
import type { Item } from "./row-groups";
import { Selection } from "./selection";

/** The tools in the header: connection, live tail, time zone, summary. */
function pageTools({ address, go }: LogPage, live: LiveTail): TemplateResult {
  const summary = address.view === "summary";
  const utc = address.zone === "utc";
  return html`${connectionPill(pillWord(live.status))}
    <button role="switch" aria-checked=${address.live} class="switch" data-testid="live-tail" title="Show new events as they arrive" @click=${live.toggle}>
      <span class="switch-dot" aria-hidden="true"></span> Live tail
    </button>
    <button
      data-testid="zone"
      title="Times are in ${utc ? "UTC" : "local time"}; a click shows them in ${utc ? "local time" : "UTC"}"
      @click=${() => go({ ...address, zone: utc ? "local" : "utc" })}
    >
      ${utc ? "UTC" : html`<span><span class="theme-word">Local (</span>${zoneName()}<span class="theme-word">)</span></span>`}
    </button>
    <button
      aria-pressed=${summary}
      data-testid="summary"
      title="Events of each day and channel"
      @click=${() => go({ ...address, view: summary ? "log" : "summary" })}
    >
      Summary
    </button>`;
}

/** The Battle Log: history and search. Its whole state is in the address; see address.ts. */
@customElement("realm-battle-log")
export class RealmBattleLog extends LitElement implements LogPage {
  @state() address: Address = readAddress(location.search);
  @query("realm-log-list") readonly list!: RealmLogList | null;
  @query("realm-filter-bar") private bar!: RealmFilterBar | null;
  private readonly results: Results = new Results(this, {
    asked: () => this.live.restart(),
    answered: () => this.live.connectSoon(),
    counted: (asOf) => this.live.caughtUp(asOf),
    replaced: () => this.selection.resetCurrent(),
    firstRows: () => void this.selection.reveal(),
  });
  private readonly selection: Selection = new Selection(this, this.results);
  private readonly live: LiveTail = new LiveTail(this, this.results);
  private readonly filterData = new FilterData(this, this.results);
  private typing = false;
  private readonly ends: (() => void)[] = [];

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // The rows first: the service has few threads for all requests.
    void this.results.ask().then(() => this.filterData.load());
    void this.selection.select(this.address.event);
    if (location.hash === "#search") void this.updateComplete.then(() => this.bar?.focusSearch());
    const stepped = () => this.arrive(readAddress(location.search));
    window.addEventListener("popstate", stepped);
    this.ends.push(shortcuts(window, this.keys()), () => window.removeEventListener("popstate", stepped));
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.results.view.stop();
    for (const end of this.ends.splice(0)) end();
  }

  private keys(): Shortcut[] {
    const { selection } = this;
    return [
      { key: "/", label: "Search", run: () => this.bar?.focusSearch() },
      { key: "j", label: "Next event (older)", run: () => selection.move(1) },
      { key: "k", label: "Previous event (newer)", run: () => selection.move(-1) },
      { key: "Enter", label: "Open the event or group", run: () => selection.enter() },
      { key: "Escape", shown: "Esc", label: "Close the details", run: selection.close },
      { key: " ", label: "Turn live tail on or off", run: this.live.toggle },
      { key: "e", label: "Next error (older)", run: () => void selection.nextError() },
      { key: "?", label: "Show this list", run: () => undefined },
    ];
  }

  /** Go to an address as one step that Back undoes. */
  readonly go = (address: Address, { typing = false, replace = false }: Step = {}): void => {
    const url = location.pathname + writeAddress(address);
    if (replace || (typing && this.typing)) history.replaceState(null, "", url);
    else if (url !== location.pathname + location.search) history.pushState(null, "", url);
    this.typing = typing;
    this.arrive(address);
  };

  private arrive(address: Address): void {
    const before = this.address;
    this.address = address;
    if (dataKey(before) !== dataKey(address)) void this.results.ask();
    if (before.zone !== address.zone) this.results.rebuild();
    if (before.event !== address.event) void this.selection.select(address.event);
    if (address.live && !before.live) void this.live.catchUp();
  }

  /** Details of an event that the new rows may not have would be stale. */
  private readonly changed = ({ detail: { address, typing = false } }: CustomEvent<Change>): void => {
    const isOther = dataKey(address) !== dataKey(this.address);
    this.go(isOther ? { ...address, event: null } : address, { typing });
  };

  protected override render() {
    const { address } = this;
    return html`<realm-header page="battle-log" .tools=${pageTools(this, this.live)}></realm-header>
      <main class="battle-log ${this.selection.event ? "with-details" : ""} view-${address.view}">
        <h1 class="visually-hidden">Battle Log</h1>
        ${address.view === "summary"
          ? html`${this.notice()} <realm-summary .address=${address} @change-address=${this.changed}></realm-summary>`
          : html`${this.controls()} ${this.notice()} ${this.columns()}`}
      </main>`;
  }

  /** Above the rows, which are as they were when the service answered last. */
  private notice(): TemplateResult | typeof nothing {
    const { view, shown } = this.results;
    if (view.state === "failed" && this.address.view !== "summary") return nothing;
    const answeredMs = shown.readings ? shown.readAt.getTime() : null;
    if (this.live.status === "reconnecting" && !view.error) return downNotice(answeredMs);
    return view.error ? problemNotice(view.error, answeredMs) : nothing;
  }

  private controls(): TemplateResult {
    const { address, filterData, results } = this;
    const toggle = (name: string) => this.go({ ...address, query: toggled(address.query, "channel", name), asOf: null });
    const narrow = (event: CustomEvent<{ since: string; until: string }>) =>
      this.go({ ...address, range: { named: null, ...event.detail }, live: false });
    return html`<div class="log-controls">
      <realm-filter-bar .address=${address} .known=${filterData.known()} .labels=${filterData.labels} @change-address=${this.changed}></realm-filter-bar>
      ${channelChips(filterData.counts, address.query.lists.channel, toggle)} ${resultLine(address, results)}
      <realm-histogram .histogram=${results.shown.histogram} zone=${address.zone} @range=${narrow}></realm-histogram>
    </div>`;
  }

  private columns(): TemplateResult {
    const { stale, view } = this.results;
    return html`<div class="log-columns">
      <div class="log-column ${stale ? "stale" : ""}" aria-busy=${view.state === "loading"}>
        ${this.rowsOrState()} ${this.newPill()}
      </div>
      ${this.pane()}
    </div>`;
  }

  private rowsOrState(): TemplateResult {
    const { address, results, filterData } = this;
    const { view, shown, items } = results;
    if (view.state === "failed") return failure(view.error!, view.again);
    if (shown.state === "loading") return loadingRows();
    if (!items.length && shown.complete) {
      if (filterData.counts && filterData.counts.oldest === null) {
        return html`<div class="state" data-testid="empty-log"><h2>No events yet</h2>${howToBegin()}</div>`;
      }
      return html`<realm-empty .address=${address} @change-address=${this.changed}></realm-empty>
        <div class="log-end">${retention(this, results, filterData.counts)}</div>`;
    }
    return html`<realm-log-list
      .items=${items}
      .look=${{ zone: address.zone, phrases: phrasesOf(address.query.q) }}
      .end=${listEnd(this, results, filterData.counts)}
      current=${this.selection.current}
      @activate=${(event: CustomEvent<Item>) => this.selection.activate(event.detail)}
      @near-end=${results.nearEnd}
      @moved=${() => this.requestUpdate()}
    ></realm-log-list>`;
  }

  private newPill(): TemplateResult | typeof nothing {
    const { waiting, catchUp } = this.live;
    if (waiting === null) return nothing;
    return html`<button class="pill new-pill" data-testid="new-pill" @click=${catchUp}>
      <span aria-hidden="true">↑</span> ${waiting ? `${formatCount(waiting)} new` : "Show new events"}
    </button>`;
  }

  private pane(): TemplateResult | typeof nothing {
    const { selection, address } = this;
    const { event, error } = selection;
    if (error) {
      return html`<section class="details" data-testid="details" aria-label="Event details">
        <div class="state"><h2>${error.message}</h2>
          <p class="soft">${error.status === 404 ? "It may have been deleted at the end of its retention period." : wayOut(error)}</p>
          <button @click=${selection.close}>Close</button></div>
      </section>`;
    }
    if (!event) return nothing;
    return html`<realm-details
      .event=${event}
      .query=${address.query}
      .phrases=${phrasesOf(address.query.q)}
      .labels=${this.filterData.labels}
      zone=${address.zone}
      @close=${selection.close}
      @open=${(sent: CustomEvent<RealmEvent>) => selection.open(sent.detail)}
      @around=${() => selection.around(event)}
      @link=${() => copyLink(address, this.results)}
      @filter=${(sent: CustomEvent<Query>) => this.go({ ...address, query: sent.detail, asOf: null })}
    ></realm-details>`;
  }
}

import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { formatCount } from "../shared/format";
import "../shared/page-header";
import { type Shortcut, shortcuts } from "../shared/shortcuts";
import type { ConnectionStatus, RealmEvent } from "../stream/event";
import { dataKey, type Place, type Query, readPlace, toggled, writePlace } from "./address";
import "./daily-summary";
import "./details-pane";
import { type Change, channelChips, type RealmFilterBar } from "./filter-bar";
import { SideData } from "./filter-data";
import "./histogram";
import { failure, listEnd, loadingRows, retention } from "./list-states";
import { LiveTail } from "./live-tail";
import type { RealmLogList } from "./log-list";
import "./log-list";
import type { LogPage, Step } from "./log-page";
import { copyLink, resultLine } from "./result-line";
import { Results } from "./results";
import type { Item } from "./row-groups";
import { Selection } from "./selection";
import { phrasesOf } from "./text-search";

const CONNECTION: Record<ConnectionStatus, string> = {
  live: "Live",
  connecting: "Connecting",
  reconnecting: "Reconnecting",
};

/** The page's own tools in the header: connection, live tail, zone, summary. */
function pageTools({ place, go }: LogPage, live: LiveTail): TemplateResult {
  const summary = place.view === "summary";
  const utc = place.zone === "utc";
  return html`<span class="pill status-${live.status}" data-testid="status-pill">${CONNECTION[live.status]}</span>
    <button role="switch" aria-checked=${place.live} class="switch" data-testid="live-tail" @click=${live.toggle}>
      <span class="switch-dot" aria-hidden="true"></span> Live tail
    </button>
    <button
      data-testid="zone"
      title="Switch between local time and UTC"
      @click=${() => go({ ...place, zone: utc ? "local" : "utc" })}
    >
      ${utc ? "UTC" : "Local time"}
    </button>
    <button
      aria-pressed=${summary}
      data-testid="summary"
      @click=${() => go({ ...place, view: summary ? "log" : "summary" })}
    >
      Summary
    </button>`;
}

/** The Battle Log: what happened. The address holds all of its state; see address.ts. */
@customElement("realm-battle-log")
export class RealmBattleLog extends LitElement implements LogPage {
  @state() place: Place = readPlace(location.search);
  @query("realm-log-list") readonly list!: RealmLogList | null;
  @query("realm-filter-bar") private bar!: RealmFilterBar | null;
  private readonly results: Results = new Results(this, {
    asked: () => this.live.restart(),
    answered: () => this.live.connectSoon(),
    counted: (asOf) => this.live.caughtUp(asOf),
    replaced: () => this.selection.standAtOpen(),
    firstRows: () => void this.selection.reveal(),
  });
  private readonly selection: Selection = new Selection(this, this.results);
  private readonly live: LiveTail = new LiveTail(this, this.results);
  private readonly side = new SideData(this, this.results);
  private typing = false;
  private readonly ends: (() => void)[] = [];

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // The rows first: the service counts for everything else with the same few threads.
    void this.results.ask().then(() => this.side.load());
    void this.selection.select(this.place.event);
    if (location.hash === "#search") void this.updateComplete.then(() => this.bar?.focusSearch());
    const stepped = () => this.arrive(readPlace(location.search));
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
      { key: "Enter", label: "Open the event or the group", run: () => selection.enter() },
      { key: "Escape", shown: "Esc", label: "Close the details", run: selection.close },
      { key: " ", label: "Live tail on or off", run: this.live.toggle },
      { key: "e", label: "Next error", run: () => void selection.nextError() },
      { key: "?", label: "This list", run: () => undefined },
    ];
  }

  /** Go to a place as one step that Back undoes; typing, or moving along rows, is a single step. */
  readonly go = (place: Place, { typing = false, replace = false }: Step = {}): void => {
    const address = location.pathname + writePlace(place);
    if (replace || (typing && this.typing)) history.replaceState(null, "", address);
    else if (address !== location.pathname + location.search) history.pushState(null, "", address);
    this.typing = typing;
    this.arrive(place);
  };

  private arrive(place: Place): void {
    const before = this.place;
    this.place = place;
    if (dataKey(before) !== dataKey(place)) void this.results.ask();
    if (before.zone !== place.zone) this.results.rebuild();
    if (before.event !== place.event) void this.selection.select(place.event);
    if (place.live && !before.live) void this.live.catchUp();
  }

  private readonly changed = (event: CustomEvent<Change>): void =>
    this.go(event.detail.place, { typing: event.detail.typing ?? false });

  protected override render() {
    const { place } = this;
    return html`<realm-header page="battle-log" .tools=${pageTools(this, this.live)}></realm-header>
      <main class="battle-log ${this.selection.event ? "with-details" : ""} view-${place.view}">
        <h1 class="visually-hidden">Battle Log</h1>
        ${place.view === "summary"
          ? html`<realm-summary .place=${place} @change-place=${this.changed}></realm-summary>`
          : html`${this.controls()} ${this.columns()}`}
      </main>`;
  }

  private controls(): TemplateResult {
    const { place, side, results } = this;
    const toggle = (name: string) => this.go({ ...place, query: toggled(place.query, "channel", name), asOf: null });
    const narrow = (event: CustomEvent<{ since: string; until: string }>) =>
      this.go({ ...place, range: { named: null, ...event.detail }, live: false });
    return html`<div class="log-controls">
      <realm-filter-bar .place=${place} .known=${side.known()} @change-place=${this.changed}></realm-filter-bar>
      ${channelChips(side.counts, place.query.lists.channel, toggle)} ${resultLine(place, results)}
      <realm-histogram .histogram=${results.shown.histogram} zone=${place.zone} @range=${narrow}></realm-histogram>
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
    const { place, results, side } = this;
    const { view, shown, items } = results;
    if (view.state === "failed") return failure(view.error!, () => void results.ask());
    if (shown.state === "loading") return loadingRows();
    if (!items.length && shown.complete) {
      return html`<realm-empty .place=${place} @change-place=${this.changed}></realm-empty>
        <div class="log-end">${retention(this, results, side.counts)}</div>`;
    }
    return html`<realm-log-list
      .items=${items}
      .look=${{ zone: place.zone, phrases: phrasesOf(place.query.q) }}
      .end=${listEnd(this, results, side.counts)}
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
      <span aria-hidden="true">↑</span> ${waiting ? `${formatCount(waiting)} new` : "Show what is new"}
    </button>`;
  }

  private pane(): TemplateResult | typeof nothing {
    const { selection, place } = this;
    const { event, error } = selection;
    if (error) {
      return html`<section class="details" data-testid="details" aria-label="Details">
        <div class="state"><h2>${error}</h2>
          <p class="soft">Retention may have removed it.</p>
          <button @click=${selection.close}>Close</button></div>
      </section>`;
    }
    if (!event) return nothing;
    return html`<realm-details
      .event=${event}
      .query=${place.query}
      .phrases=${phrasesOf(place.query.q)}
      zone=${place.zone}
      @close=${selection.close}
      @open=${(told: CustomEvent<RealmEvent>) => selection.open(told.detail)}
      @around=${() => selection.around(event)}
      @link=${() => copyLink(place, this.results)}
      @filter=${(told: CustomEvent<Query>) => this.go({ ...place, query: told.detail, asOf: null })}
    ></realm-details>`;
  }
}

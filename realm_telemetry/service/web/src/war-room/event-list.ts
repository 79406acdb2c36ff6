import { html, LitElement, nothing } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import { channelIcon, SEVERITIES } from "../shared/catalog";
import { formatCount, formatTime, shownText, timeMs } from "../shared/format";
import { eventHref, logHref } from "../shared/links";
import { howToBegin } from "../shared/snippet";
import { say } from "../shared/toast";
import { type ConnectionStatus, isRoutine, type RealmEvent, type StreamMessage } from "../stream/event";

const SHOWN_CHARS = 500;
const DRAW_MS = 100;
/** Rows that are drawn in one frame: three times what the box shows, and no task of over 50 ms. */
const AT_ONCE = 60;
/** A hidden tab gets no animation frames. */
const HIDDEN_MS = 250;
const TOP_PX = 4;
/** The reasons of a `reset` message; see docs/http-api.md. */
const GAP_REASONS: Readonly<Record<string, string>> = {
  retention: "old events were deleted in the meantime",
  other_log: "the service now has another log",
  ahead: "the log was reset to an earlier point",
  failover: "a standby of the database took over without the newest events",
};

/** A row of the list. A plain element: it is inserted once and never changes. */
function makeRow(row: FeedRow): HTMLLIElement {
  return row.type === "event" ? eventRow(row.event) : gapRow(row);
}

function eventRow(event: RealmEvent): HTMLLIElement {
  const row = make("li", `event ${event.severity}`);
  row.dataset["eventId"] = event.id;
  const time = make("time", "", formatTime(new Date(timeMs(event)), { zone: "local" }));
  time.dateTime = time.title = event.timestamp;
  const channel = make("span", "channel", channelIcon(event.channel));
  channel.title = event.channel;
  channel.setAttribute("role", "img");
  channel.setAttribute("aria-label", event.channel);
  const message = make("a", "message", shownText(event.message.slice(0, SHOWN_CHARS)));
  message.href = eventHref(event);
  row.append(time, channel, severity(event), message);
  return row;
}

function severity(event: RealmEvent): HTMLElement {
  const look = SEVERITIES.find((one) => one.name === event.severity);
  const mark = make("span", `severity ${event.severity}`);
  const icon = make("span", "severity-icon", look?.icon ?? "i");
  icon.setAttribute("aria-hidden", "true");
  mark.append(icon, look?.label ?? event.severity);
  return mark;
}

function gapRow(row: FeedRow & { type: "gap" }): HTMLLIElement {
  const range: Record<string, string> = {};
  if (row.since) range["since"] = row.since;
  if (row.until) range["until"] = row.until;
  const gap = make("li", "gap", `Some events are missing here: ${GAP_REASONS[row.reason] ?? "the connection could not resume"}. `);
  gap.dataset["testid"] = "gap-row";
  const link = make("a", "", "Find them in the Battle Log");
  link.href = logHref(range);
  gap.append(link);
  return gap;
}

function make<K extends keyof HTMLElementTagNameMap>(name: K, classes: string, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  return made;
}

/**
 * The last events; tells the feed to hold new ones while the user reads further down.
 *
 * New rows are inserted at the top, oldest first, without comparing all rows: they appear in the
 * next frame, however busy the rest of the page is. The list has the first of the feed's rows, and
 * soon all of them.
 */
@customElement("realm-event-list")
export class EventList extends LitElement {
  @property({ attribute: false }) feed!: Feed;
  @property({ type: Boolean }) paused = false;
  @query(".feed") private box!: HTMLElement;
  @query("ol") private list!: HTMLOListElement;
  private reading = false;
  private shown = 0;
  /** The service was there, and its log was empty. */
  private wasEmpty = false;
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

  /** Draw new events in the next frame, at most ten times a second. */
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
    if (this.wasEmpty && rows.length) say("First event received");
    this.wasEmpty = this.feed.hasBegun && !rows.length;
    // In a flood the newest rows are drawn, and those behind them when it is over.
    if (fresh > AT_ONCE) this.list.replaceChildren();
    for (let index = Math.min(fresh, AT_ONCE) - 1; index >= 0; index--) this.list.prepend(makeRow(rows[index]!));
    while (this.list.childElementCount > rows.length) this.list.lastElementChild!.remove();
    const drawn = this.list.childElementCount;
    this.list.append(...rows.slice(drawn, drawn + Math.max(AT_ONCE - fresh, 0)).map(makeRow));
    if (this.list.childElementCount < rows.length) this.arrived();
  }

  /** Hold new events while the list is scrolled, or its text is selected. */
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

  /** Move the focus down, or up, by some rows. */
  walk(by: number): void {
    const links = [...this.list.querySelectorAll<HTMLElement>(".message")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  }

  /** Clear the selection and show the newest events. */
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
          ? html`<span class="soft" data-testid="coalesced" title="Training steps, heartbeats and the like are not listed here. When they come too fast, this page gets only the newest of each; the Battle Log has all of them."
              >${formatCount(routine)} routine events, ${formatCount(coalesced)} left out</span
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
      <p>${this.feed.hasBegun ? "No events yet." : "Waiting for the service …"}</p>
      ${this.feed.hasBegun ? howToBegin() : nothing}
    </div>`;
  }
}

const SHOWN = 300;

/** A row of the list: an event, or a gap where some are missing. */
export type FeedRow =
  | { type: "event"; event: RealmEvent }
  | { type: "gap"; key: string; reason: string; since: string | null; until: string | null };

/**
 * The rows of the list of events, newest first.
 *
 * While the feed is held (paused, scrolled, or text is selected), new events wait in `waiting`, so
 * that no row moves; they become rows afterwards. Both lists are bounded and keep the newest: the
 * Battle Log has the rest.
 */
export class Feed {
  rows: FeedRow[] = [];
  waiting: FeedRow[] = [];
  /** How many arrived while held, including those that `waiting` has no room for. */
  waitingCount = 0;
  /** How many rows were ever added to `rows`: the list draws the difference. */
  added = 0;
  status: ConnectionStatus = "connecting";
  /** Whether the stream has said what the log has; before that an empty list means nothing. */
  hasBegun = false;
  /** Routine events, and how many of them the stream coalesced. */
  routine = 0;
  coalesced = 0;
  late = 0;
  lastLate: RealmEvent | null = null;
  lastArrivalMs: number | null = null;
  private held = false;
  private gapReason: string | null = null;
  private gaps = 0;
  private readonly seen = new Set<string>();

  take(message: StreamMessage, nowMs: number): void {
    if (message.type === "status") this.status = message.status;
    else if (message.type === "reset") this.gapReason = message.reason;
    else if (message.type === "snapshot") this.start(message.snapshot.events, nowMs);
    else if (message.type === "event") this.add(message.event, nowMs);
  }

  hold(held: boolean): void {
    this.held = held;
    if (!held) this.release();
  }

  release(): void {
    if (!this.waitingCount) return;
    this.rows = [...this.waiting, ...this.rows].slice(0, SHOWN);
    this.added += this.waitingCount;
    this.waiting = [];
    this.waitingCount = 0;
  }

  private start(events: RealmEvent[], nowMs: number): void {
    this.hasBegun = true;
    const fresh = events.filter((event) => !this.seen.has(event.id));
    if (this.gapReason !== null) this.push(this.gap(fresh));
    this.gapReason = null;
    for (const event of [...fresh].reverse()) this.add(event, nowMs, false);
  }

  private gap(fresh: RealmEvent[]): FeedRow {
    const last = [...this.waiting, ...this.rows].find((row) => row.type === "event");
    return {
      type: "gap",
      key: `gap-${++this.gaps}`,
      reason: this.gapReason ?? "",
      since: last?.type === "event" ? last.event.timestamp : null,
      until: fresh.at(-1)?.timestamp ?? null,
    };
  }

  private add(event: RealmEvent, nowMs: number, arrived = true): void {
    const arrivedMs = Number(event.observed_unix_nano ?? event.time_unix_nano) / 1e6;
    this.lastArrivalMs = arrived ? nowMs : Math.max(this.lastArrivalMs ?? 0, Math.min(arrivedMs, nowMs));
    if (this.hasNoRow(event)) return this.countRoutine(event);
    if (this.seen.has(event.id)) return;
    this.remember(event.id);
    if (event.late) [this.late, this.lastLate] = [this.late + 1, event];
    else this.push({ type: "event", event });
  }

  /** Whether an event is routine and gets no row. */
  hasNoRow(event: RealmEvent): boolean {
    return isRoutine(event.kind) || event.coalesced !== undefined;
  }

  private countRoutine(event: RealmEvent): void {
    this.coalesced += event.coalesced ?? 0;
    this.routine += 1 + (event.coalesced ?? 0);
    if (event.late) [this.late, this.lastLate] = [this.late + 1, event];
  }

  private push(row: FeedRow): void {
    const into = this.held ? this.waiting : this.rows;
    into.unshift(row);
    if (into.length > SHOWN) into.pop();
    if (this.held) this.waitingCount += 1;
    else this.added += 1;
  }

  private remember(id: string): void {
    this.seen.add(id);
    if (this.seen.size <= 4 * SHOWN) return;
    const oldest = this.seen.values().next().value;
    if (oldest !== undefined) this.seen.delete(oldest);
  }
}

import type { ReactiveController } from "lit";
import { say } from "../shared/toast";
import type { ConnectionStatus, RealmEvent, Snapshot, StreamMessage } from "../stream/event";
import { eventStream } from "../stream/event-stream";
import type { LogPage, Range } from "./address";
import { matcher } from "./event-filter";
import type { Results } from "./log-view";

const MAX_HELD = 1_000;
const DRAW_MS = 100;
const FOLLOW_MS = 1_000;
const CONNECT_MS = 1_000;

interface Arrival {
  event: RealmEvent;
  /** Its row is shown; the counts do not include it yet. */
  shown: boolean;
}

/**
 * New events of the stream that match the query, until the rows include them.
 *
 * The events held are bounded, the count is not: a coalesced event counts for all it represents.
 */
export class Arrivals {
  private held: Arrival[] = [];
  private highest = 0;
  /** How many arrived since the rows were last read. */
  count = 0;
  /** The stream may have missed events. */
  broken = false;

  constructor(private wants: (event: RealmEvent) => boolean) {}

  /** Start again for another query. */
  restart(wants: (event: RealmEvent) => boolean): void {
    this.wants = wants;
    this.held = [];
    this.count = this.highest = 0;
    this.broken = false;
  }

  /** Rows and counts now include all events up to this cursor. */
  caughtUp(asOf: number): void {
    this.held = this.held.filter(({ event }) => event.cursor > asOf);
    this.highest = Math.max(this.highest, asOf);
    this.count = this.held.reduce((sum, { event }) => sum + 1 + (event.coalesced ?? 0), 0);
    this.broken = false;
  }

  /** Returns whether anything changed. */
  take(message: StreamMessage): boolean {
    if (message.type === "event") return this.add(message.event);
    if (message.type === "snapshot") return this.join(message.snapshot);
    if (message.type !== "reset" && message.type !== "gap") return false;
    return (this.broken = true);
  }

  /** Return the events that are not coalesced and not yet shown, oldest first; each once. */
  drain(): RealmEvent[] {
    const whole = this.held.filter(({ event, shown }) => !shown && !event.coalesced);
    for (const one of whole) one.shown = true;
    return whole.map(({ event }) => event);
  }

  /** The connection began after the rows were read: the snapshot has the events in between. */
  private join({ events, routine }: Snapshot): boolean {
    const known = new Set(this.held.map(({ event }) => event.cursor));
    const missed = [...events, ...routine].filter((event) => !known.has(event.cursor));
    return missed.sort((a, b) => a.cursor - b.cursor).filter((event) => this.add(event)).length > 0;
  }

  private add(event: RealmEvent): boolean {
    if (event.cursor <= this.highest || !this.wants(event)) return false;
    this.count += 1 + (event.coalesced ?? 0);
    this.held.push({ event, shown: false });
    if (this.held.length > MAX_HELD) this.held.shift();
    return true;
  }
}

/** New events while the page is open: shown while the tail is on, otherwise counted. */
export class LiveTail implements ReactiveController {
  status: ConnectionStatus = "connecting";
  private readonly arrivals = new Arrivals(() => false);
  private stop: (() => void) | null = null;
  private following: ReturnType<typeof setInterval> | undefined;
  private draw: ReturnType<typeof setTimeout> | undefined;
  private present = false;

  constructor(
    private readonly page: LogPage,
    private readonly results: Results,
  ) {
    page.addController(this);
  }

  hostConnected(): void {
    this.present = true;
    this.following = setInterval(() => void this.follow(), FOLLOW_MS);
    if (this.page.address.live) this.connect();
  }

  hostDisconnected(): void {
    this.present = false;
    clearInterval(this.following);
    clearTimeout(this.draw);
    this.stop?.();
    this.stop = null;
  }

  /** Connect a second later, so that the rows load first. */
  connectSoon(): void {
    setTimeout(() => this.present && this.connect(), CONNECT_MS);
  }

  private connect(): void {
    this.stop ??= eventStream.messages((message) => this.hear(message));
  }

  restart(): void {
    this.arrivals.restart(matcher(this.page.address.query, this.results.span));
  }

  caughtUp(asOf: number): void {
    this.arrivals.caughtUp(asOf);
  }

  /** How many new events are not shown; null if none. */
  get waiting(): number | null {
    const { count, broken } = this.arrivals;
    const { results } = this;
    const { address } = this.page;
    if (results.view.state !== "ready" || (!count && !broken)) return null;
    return address.live && !this.held ? null : count;
  }

  private hear(message: StreamMessage): void {
    if (message.type === "status") this.turned(message.status);
    if (this.page.address.asOf !== null || !this.arrivals.take(message)) return;
    this.draw ??= setTimeout(() => requestAnimationFrame(() => this.show()), DRAW_MS);
  }

  private turned(status: ConnectionStatus): void {
    const isBack = status === "live" && this.status === "reconnecting";
    this.status = status;
    // What is asked for once is asked for again by itself.
    if (isBack && this.results.view.state === "ready" && this.results.view.error) void this.results.view.refresh(() => !this.held);
    this.page.requestUpdate();
  }

  private show(): void {
    this.draw = undefined;
    if (!this.results.shown.total.count && this.arrivals.count && this.results.view.complete) return void this.begin();
    if (this.page.address.live && !this.held) this.results.view.arrive(this.arrivals.drain());
    this.page.requestUpdate();
  }

  /** The first events of an empty list are shown without a click: there are no rows that could move. */
  private async begin(): Promise<void> {
    await this.results.view.refresh(() => true);
    say("First event received");
  }

  /** Rows must not move while the user has scrolled down or selected text. */
  private get held(): boolean {
    return this.page.list?.atTop === false || marksText();
  }

  private async follow(): Promise<void> {
    const quiet = !this.arrivals.count && !this.arrivals.broken;
    if (!this.page.address.live || document.hidden || this.held || quiet) return;
    await this.results.view.refresh(() => !this.held);
  }

  /** Show the new events and scroll to them. */
  readonly catchUp = async (): Promise<void> => {
    const { page } = this;
    if (page.address.asOf !== null) return page.go({ ...page.address, asOf: null });
    getSelection()?.removeAllRanges();
    page.list?.toTop();
    await this.results.view.refresh(() => !this.held);
  };

  readonly toggle = (): void => {
    const { address } = this.page;
    const live = !address.live;
    this.connect();
    const range = live ? this.openEnded(address.range) : address.range;
    this.page.go({ ...address, live, range, asOf: live ? null : address.asOf });
    say(live ? "Live tail on" : "Live tail off");
  };

  /** A range with an end would never show new events. */
  private openEnded(range: Range): Range {
    const since = range.named === "last-night" ? (this.results.span.since ?? "") : range.since;
    return { named: range.named === "all" ? "all" : null, since, until: "" };
  }
}

function marksText(): boolean {
  const selection = getSelection();
  return !!selection && !selection.isCollapsed && selection.toString().trim() !== "";
}

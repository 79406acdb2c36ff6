import type { ReactiveController } from "lit";
import { say } from "../shared/toast";
import { eventStream } from "../stream/event-stream";
import type { ConnectionStatus, StreamMessage } from "../stream/event";
import { Arrivals } from "./arrivals";
import type { LogPage } from "./log-page";
import { matcher } from "./event-filter";
import type { Range } from "./address";

const DRAW_MS = 100;
const FOLLOW_MS = 1_000;
const CONNECT_MS = 1_000;

/** What arrives while the page is open: counted until somebody wants it, shown while the tail is on. */
export class LiveTail implements ReactiveController {
  status: ConnectionStatus = "connecting";
  private readonly arrivals = new Arrivals(() => false);
  private stop: (() => void) | null = null;
  private following: ReturnType<typeof setInterval> | undefined;
  private draw: ReturnType<typeof setTimeout> | undefined;
  private present = false;

  constructor(private readonly page: LogPage) {
    page.addController(this);
  }

  hostConnected(): void {
    this.present = true;
    this.following = setInterval(() => void this.follow(), FOLLOW_MS);
    if (this.page.place.live) this.connect();
  }

  hostDisconnected(): void {
    this.present = false;
    clearInterval(this.following);
    clearTimeout(this.draw);
    this.stop?.();
    this.stop = null;
  }

  /** The rows come first: what is new matters once one sees what there is. */
  connectSoon(): void {
    setTimeout(() => this.present && this.connect(), CONNECT_MS);
  }

  private connect(): void {
    this.stop ??= eventStream.messages((message) => this.hear(message));
  }

  restart(): void {
    this.arrivals.restart(matcher(this.page.place.query, this.page.results.span));
  }

  caughtUp(asOf: number): void {
    this.arrivals.caughtUp(asOf);
  }

  /** How many wait to be looked at; null if there is nothing to say. */
  get waiting(): number | null {
    const { count, broken } = this.arrivals;
    const { place, results } = this.page;
    if (results.view.state !== "ready" || (!count && !broken)) return null;
    return place.live && !this.held ? null : count;
  }

  private hear(message: StreamMessage): void {
    if (message.type === "status") this.status = message.status;
    if (message.type === "status") this.page.requestUpdate();
    if (this.page.place.asOf !== null || !this.arrivals.take(message)) return;
    this.draw ??= setTimeout(() => requestAnimationFrame(() => this.show()), DRAW_MS);
  }

  private show(): void {
    this.draw = undefined;
    if (this.page.place.live && !this.held) this.page.results.view.arrive(this.arrivals.drain());
    this.page.requestUpdate();
  }

  /** Nothing may move what somebody reads: away from the top, or with text marked. */
  private get held(): boolean {
    return !this.page.list?.atTop || marksText();
  }

  private async follow(): Promise<void> {
    const quiet = !this.arrivals.count && !this.arrivals.broken;
    if (!this.page.place.live || document.hidden || this.held || quiet) return;
    await this.page.results.view.refresh(() => !this.held);
  }

  /** Show what is new, and go to it. */
  readonly catchUp = async (): Promise<void> => {
    const { page } = this;
    if (page.place.asOf !== null) return page.go({ ...page.place, asOf: null });
    getSelection()?.removeAllRanges();
    page.list?.toTop();
    await page.results.view.refresh(() => !this.held);
  };

  readonly toggle = (): void => {
    const { place } = this.page;
    const live = !place.live;
    this.connect();
    const range = live ? this.openEnded(place.range) : place.range;
    this.page.go({ ...place, live, range, asOf: live ? null : place.asOf });
    say(live ? "Live tail on" : "Live tail off");
  };

  /** A range that has ended would never show anything new. */
  private openEnded(range: Range): Range {
    const since = range.named === "last-night" ? (this.page.results.span.since ?? "") : range.since;
    return { named: range.named === "all" ? "all" : null, since, until: "" };
  }
}

function marksText(): boolean {
  const selection = getSelection();
  return !!selection && !selection.isCollapsed && selection.toString().trim() !== "";
}

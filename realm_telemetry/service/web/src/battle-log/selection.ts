import { type ApiError, asApiError, getEvents, getPage } from "../shared/api";
import { Asking } from "../shared/connection";
import { timeMs } from "../shared/format";
import { say } from "../shared/toast";
import type { RealmEvent } from "../stream/event";
import { EMPTY_QUERY, type LogPage, seconds, secondsAfter } from "./address";
import type { Results } from "./log-view";
import type { Item } from "./row-groups";

const AROUND_MS = 5 * 60_000;
/** How many pages to load in search of an error before the range is moved to it. */
const ERROR_PAGES = 4;

/** The current row, and the event whose details are open. */
export class Selection {
  event: RealmEvent | null = null;
  error: ApiError | null = null;
  private readonly asking = new Asking();
  /** The key of the current item. */
  current = "";

  constructor(
    private readonly page: LogPage,
    private readonly results: Results,
  ) {}

  private get items(): readonly Item[] {
    return this.results.items;
  }

  /** Open the details of the address's event, or none. */
  async select(id: string | null): Promise<void> {
    this.error = null;
    this.asking.stop();
    if (id) this.current = id;
    const loaded = id ? this.results.view.rows.all.find((event) => event.id === id) : null;
    // The details of an event that is not loaded come soon; until then the previous ones stay.
    if (loaded === undefined) await this.load(id!);
    else this.event = loaded;
    this.page.requestUpdate();
  }

  private async load(id: string): Promise<void> {
    const found = await this.asking.until(
      () => getEvents<RealmEvent>(`api/battle_log/${encodeURIComponent(id)}`),
      (error) => {
        this.event = null;
        this.error = error;
        this.page.requestUpdate();
      },
    );
    if (!found) return;
    this.event = found;
    this.error = null;
  }

  resetCurrent(): void {
    this.current = this.page.address.event ?? "";
  }

  /** Scroll to the row of the open event. */
  async reveal(): Promise<void> {
    if (!this.page.address.event) return;
    await this.page.updateComplete;
    await this.page.list?.updateComplete;
    const at = this.items.findIndex((item) => item.key === this.page.address.event);
    if (at >= 0) this.page.list?.reveal(at);
  }

  activate(item: Item): void {
    this.current = item.key;
    const { event } = this.page.address;
    if (item.type === "group") this.results.toggleGroup(item.group);
    else if (item.type === "event") this.open(item.event, event !== null && event !== item.event.id);
  }

  open(event: RealmEvent, replace = false): void {
    this.page.go({ ...this.page.address, event: event.id }, { replace });
  }

  enter(): void {
    const item = this.items.find((one) => one.key === this.current);
    if (item) this.activate(item);
  }

  move(by: number): void {
    const { items } = this;
    let at = items.findIndex((item) => item.key === this.current);
    if (at < 0) at = (this.page.list?.firstInView ?? 0) - (by > 0 ? 1 : 0);
    do at += by;
    while (items[at]?.type === "day");
    const item = items[at];
    if (item) this.makeCurrent(item, at);
  }

  /** Make an item the current one; open details follow it. */
  makeCurrent(item: Item, at: number): void {
    this.current = item.key;
    this.page.list?.reveal(at);
    if (this.page.address.event && item.type === "event") this.open(item.event, true);
    this.page.requestUpdate();
  }

  /** Close the details; if they are closed, clear the current row. */
  readonly close = (): void => {
    if (this.page.address.event) this.page.go({ ...this.page.address, event: null });
    else this.current = "";
    this.page.requestUpdate();
  };

  /** Show all events around an event, without filters. */
  around(event: RealmEvent): void {
    const at = timeMs(event);
    const iso = (ms: number) => new Date(ms).toISOString();
    const range = { named: null, since: iso(at - AROUND_MS), until: iso(at + AROUND_MS) };
    this.page.go({ ...this.page.address, query: EMPTY_QUERY, range, asOf: null, live: false, event: event.id });
  }

  /** Open the next error below the current row, however far down it is. */
  async nextError(): Promise<void> {
    const { severity } = this.page.address.query.lists;
    const wanted = severity.filter((name) => !name.startsWith("!"));
    if (severity.includes("!error") || (wanted.length && !wanted.includes("error"))) {
      return say("The severity filter hides errors");
    }
    const { view } = this.results;
    for (let pages = 0; ; pages++) {
      const at = this.errorBelow();
      if (at >= 0) return this.openError(at);
      if (view.complete || view.full || view.error || pages === ERROR_PAGES) break;
      await view.more();
    }
    await this.jumpToError();
  }

  private errorBelow(): number {
    const current = this.items.findIndex((item) => item.key === this.current);
    const from = current < 0 ? (this.page.list?.firstInView ?? 0) : current + 1;
    return this.items.findIndex((item, at) => at >= from && isError(item));
  }

  private openError(at: number): void {
    const item = this.items[at];
    const event = item && eventOf(item);
    if (!event) return;
    const replace = this.page.address.event !== null;
    this.makeCurrent(item, at);
    this.open(event, replace);
  }

  /** For an error far down: let the range end at it. */
  private async jumpToError(): Promise<void> {
    const { page } = this;
    const { view, span } = this.results;
    const last = view.rows.all.at(-1);
    if (view.complete || !last || view.isSearch) return say("No more errors");
    const params = new URLSearchParams(view.params);
    params.set("severity", "error");
    params.set("until", seconds(last.time_unix_nano));
    params.set("limit", "1");
    const found = await getPage(params).catch((problem: unknown) => say(asApiError(problem).message));
    if (!found) return;
    const error = found.events[0];
    if (!error) return say("No more errors");
    const until = secondsAfter(error.time_unix_nano);
    page.go({ ...page.address, range: { named: null, since: span.since ?? "", until }, event: error.id, live: false });
    say("Jumped to an older error. Back returns.");
  }
}

function isError(item: Item): boolean {
  return eventOf(item)?.severity === "error";
}

/** The event of a line; of a closed line for several ranks the newest. */
function eventOf(item: Item): RealmEvent | undefined {
  if (item.type === "event") return item.event;
  return item.type === "group" && item.group.ranks && !item.group.open ? item.group.members[0] : undefined;
}

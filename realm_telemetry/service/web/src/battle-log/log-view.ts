import { type ApiError, asApiError, getJson, getPage, type HistoryPage } from "../shared/api";
import { Asking } from "../shared/connection";
import { formatTime, timeMs, type Zone } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import { apiParams, type LogPage, resolveRange, seconds, secondsAfter, type TimeSpan } from "./address";
import type { Histogram } from "./histogram";
import { buildItems, type Group, type Item } from "./row-groups";

const FIRST_ROWS = 200;
const MORE_ROWS = 500;
/** To see rows beyond these, the user narrows the range: memory stays bounded. */
const MAX_LOADED = 20_000;
/** More than the rows that fill a window; otherwise they would be loaded again each second. */
const MAX_LIVE_ROWS = 4_000;
const LIVE_PAGES = 3;
const BUCKETS = "90";

/** Negative if `a` is above `b`. */
function compareRows(a: RealmEvent, b: RealmEvent): number {
  if (a.time_unix_nano === b.time_unix_nano) return b.cursor - a.cursor;
  // As strings: nanoseconds do not fit into a JavaScript number.
  const [left, right] = [a.time_unix_nano, b.time_unix_nano];
  if (left.length !== right.length) return right.length - left.length;
  return left < right ? 1 : -1;
}

/** The loaded rows of a query, newest first, each once. */
export class Rows {
  private events: RealmEvent[] = [];
  private readonly cursors = new Set<number>();

  get all(): readonly RealmEvent[] {
    return this.events;
  }

  get length(): number {
    return this.events.length;
  }

  has(cursor: number): boolean {
    return this.cursors.has(cursor);
  }

  /** Insert events in order; returns how many are new. */
  add(events: readonly RealmEvent[]): number {
    const fresh = events.filter((event) => !this.cursors.has(event.cursor));
    if (!fresh.length) return 0;
    for (const event of fresh) this.cursors.add(event.cursor);
    const sorted = [...fresh].sort((a, b) => compareRows(a, b));
    const last = this.events.at(-1);
    // The usual case, the next page, is appended.
    if (!last || compareRows(last, sorted[0]!) < 0) this.events.push(...sorted);
    else this.events = mergeRows(this.events, sorted);
    return fresh.length;
  }

  /** Drop all but the first `count`. */
  keepNewest(count: number): void {
    for (const event of this.events.splice(count)) this.cursors.delete(event.cursor);
  }

  replace(events: readonly RealmEvent[]): void {
    this.events = [];
    this.cursors.clear();
    this.add(events);
  }
}

function mergeRows(
  left: readonly RealmEvent[],
  right: readonly RealmEvent[],
): RealmEvent[] {
  const merged: RealmEvent[] = [];
  let at = 0;
  for (const event of right) {
    while (at < left.length && compareRows(left[at]!, event) < 0) merged.push(left[at++]!);
    merged.push(event);
  }
  while (at < left.length) merged.push(left[at++]!);
  return merged;
}

export interface Total {
  count: number;
  relation: "eq" | "gte";
}

/**
 * The rows of one query: the first page, more pages on demand, newer rows by `refresh`.
 *
 * All pages, counts and exports are as of one cursor: events that arrive later appear only after
 * `refresh`.
 */
export class LogView {
  /** By time, newest first; pages of a full-text search come by arrival. */
  readonly rows = new Rows();
  readonly isSearch: boolean;
  histogram: Histogram | null = null;
  asOf = 0;
  /** When rows and counts were read. */
  readAt = new Date();
  /** How often rows and counts were read. */
  readings = 0;
  state: "loading" | "ready" | "failed" = "loading";
  error: ApiError | null = null;
  loadingMore = false;
  private page: Total = { count: 0, relation: "eq" };
  private next: URLSearchParams | null = null;
  private readonly ended = new AbortController();
  private readonly first = new Asking();
  private readonly further = new Asking();
  private refreshing = false;
  private pending: Promise<void> | null = null;

  /** params: filters with absolute times, so that all requests cover the same time range. */
  constructor(
    readonly params: URLSearchParams,
    private readonly fixedAsOf: number | null,
    private readonly changed: () => void,
  ) {
    this.isSearch = params.has("q");
  }

  /** No more rows to load. */
  get complete(): boolean {
    return this.state === "ready" && this.next === null;
  }

  /** More rows exist, but MAX_LOADED are loaded. */
  get full(): boolean {
    return this.next !== null && this.rows.length >= MAX_LOADED;
  }

  /** The histogram has an exact count where that of a page may have timed out. */
  get total(): Total {
    const { page, histogram } = this;
    if (page.relation === "eq" || !histogram) return page;
    if (histogram.relation === "eq") return { count: histogram.total, relation: "eq" };
    return { count: Math.max(page.count, histogram.total), relation: "gte" };
  }

  async load(): Promise<void> {
    await this.insisted(this.first, async () => {
      const page = await this.ask(FIRST_ROWS, this.fixedAsOf);
      this.rows.add(page.events);
      this.take(page);
      this.next = page.next;
      this.state = "ready";
      this.changed();
      // As of the same cursor: the bars add up to the total, even if events arrive in between.
      this.histogram = await this.askHistogram(page.asOf);
    });
  }

  /** Load the next page; calls in the meantime wait for the same one. */
  more(): Promise<void> {
    return (this.pending ??= this.loadMore().finally(() => (this.pending = null)));
  }

  private async loadMore(): Promise<void> {
    const next = this.next;
    if (!next || this.full) return;
    this.loadingMore = true;
    this.changed();
    await this.insisted(this.further, async () => {
      next.set("limit", String(MORE_ROWS));
      const page = await getPage(next, this.ended.signal);
      // A refresh may have moved the end of the rows in the meantime: then this page does not follow it.
      if (this.next !== next) return;
      this.rows.add(page.events);
      this.next = page.next;
    });
    this.loadingMore = false;
    this.changed();
  }

  /**
   * Read what has arrived since; `asOf`, total, bars and rows change together.
   *
   * may: called when the response is there, because rows must not move while the user reads.
   */
  async refresh(may: () => boolean): Promise<void> {
    if (this.refreshing || this.state === "loading" || this.fixedAsOf !== null) return;
    this.refreshing = true;
    await this.guarded(async () => {
      const before = this.asOf;
      const pages = [await this.ask(FIRST_ROWS, null)];
      const histogram = await this.askHistogram(pages[0]!.asOf);
      while (this.apart(pages, before) && pages.length < LIVE_PAGES) {
        const next = pages.at(-1)!.next!;
        next.set("limit", String(MORE_ROWS));
        pages.push(await getPage(next, this.ended.signal));
      }
      if (!may()) return;
      this.catchUp(pages, before);
      this.histogram = histogram;
      this.state = "ready";
    });
    this.refreshing = false;
  }

  /** Show events of the stream at once; `refresh` loads those that were coalesced. */
  arrive(events: readonly RealmEvent[]): void {
    if (this.rows.add(events)) this.changed();
  }

  stop(): void {
    this.ended.abort();
    this.first.stop();
    this.further.stop();
  }

  /** Ask again now for what could not be read. */
  readonly again = (): void => {
    this.first.now();
    this.further.now();
  };

  private apart(pages: readonly HistoryPage[], before: number): boolean {
    const last = pages.at(-1)!;
    return last.next !== null && last.events.every((event) => event.cursor > before);
  }

  private catchUp(pages: readonly HistoryPage[], before: number): void {
    const events = pages.flatMap((page) => page.events);
    // There are more rows between these and the previous ones; or a search has too many rows, and
    // cannot be cut at a time because its pages come by arrival.
    const long = this.isSearch && this.rows.length + events.length > MAX_LIVE_ROWS;
    if (long || this.apart(pages, before)) {
      this.rows.replace(events);
      this.next = pages.at(-1)!.next;
    } else this.rows.add(events);
    this.take(pages[0]!);
    this.forgetOldest();
  }

  /** A tail that runs for hours keeps its newest rows; the rest is loaded again on demand. */
  private forgetOldest(): void {
    if (this.rows.length <= MAX_LIVE_ROWS || this.isSearch) return;
    this.rows.keepNewest(MAX_LIVE_ROWS);
    const next = new URLSearchParams(this.params);
    // Rows of the same nanosecond are loaded twice; `Rows` ignores the second.
    next.set("until", secondsAfter(this.rows.all.at(-1)!.time_unix_nano));
    next.set("as_of", String(this.asOf));
    this.next = next;
  }

  private take(page: HistoryPage): void {
    this.page = { count: page.total, relation: page.relation };
    this.asOf = page.asOf;
    this.readAt = new Date();
    this.readings += 1;
  }

  private ask(limit: number, asOf: number | null): Promise<HistoryPage> {
    const params = new URLSearchParams(this.params);
    params.set("limit", String(limit));
    if (asOf !== null) params.set("as_of", String(asOf));
    return getPage(params, this.ended.signal);
  }

  private askHistogram(asOf: number): Promise<Histogram> {
    const params = new URLSearchParams(this.params);
    params.set("buckets", BUCKETS);
    params.set("as_of", String(asOf));
    return getJson<Histogram>("api/battle_log/histogram", params, this.ended.signal);
  }

  private async guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.error = null;
    } catch (error) {
      if (this.ended.signal.aborted) return;
      this.failed(asApiError(error));
    }
    this.changed();
  }

  /** As `guarded`, until it succeeds or cannot. */
  private async insisted(asking: Asking, work: () => Promise<void>): Promise<void> {
    await asking.until(
      () => work().then(() => (this.error = null)),
      (error) => {
        this.failed(error);
        this.changed();
      },
    );
    if (!this.ended.signal.aborted) this.changed();
  }

  private failed(error: ApiError): void {
    this.error = error;
    if (this.state === "loading") this.state = "failed";
  }
}

/** Collapsed groups make short lists: up to this many rows are loaded to fill the window. */
const MAX_FILL = 3_000;

/** What the live tail and the selection must know about the rows. */
export interface ResultsListener {
  /** The rows of another address are requested. */
  asked(): void;
  /** The request has succeeded, or failed for now. */
  answered(): void;
  /** Rows and counts were read as of a cursor. */
  counted(asOf: number): void;
  /** The rows of the previous address are gone. */
  replaced(): void;
  /** The first rows of an address are shown. */
  firstRows(): void;
}

/** The rows of the page's address; those of the previous one stay until the response is there. */
export class Results {
  span: TimeSpan = { since: null, until: null };
  items: readonly Item[] = [];
  /** The latest request; `shown` has the rows on the page. */
  view!: LogView;
  private before: LogView | null = null;
  private readings = 0;
  private readonly opened = new Set<number>();

  constructor(
    private readonly page: LogPage,
    private readonly listener: ResultsListener,
  ) {}

  get shown(): LogView {
    return this.before ?? this.view;
  }

  /** Whether the rows are still those of the previous address. */
  get stale(): boolean {
    return this.before !== null;
  }

  /** Request the rows of the address. */
  async ask(): Promise<void> {
    const { address } = this.page;
    this.span = resolveRange(address.range, new Date(), address.zone);
    this.view?.stop();
    this.before = this.view?.state === "ready" ? this.view : null;
    const view = new LogView(apiParams(address, this.span), address.asOf, () => this.changed(view));
    this.view = view;
    this.readings = 0;
    this.listener.asked();
    this.page.requestUpdate();
    await view.load();
    this.listener.answered();
  }

  private changed(view: LogView): void {
    if (view !== this.view) return;
    const first = view.state === "ready" && !view.histogram && view.rows.length > 0;
    if (view.state !== "loading" && this.before) this.showNewRows();
    if (view.state === "failed") this.listener.answered();
    if (view.readings > this.readings) this.listener.counted(view.asOf);
    this.readings = view.readings;
    this.rebuild();
    if (first) this.listener.firstRows();
  }

  private showNewRows(): void {
    this.before = null;
    this.opened.clear();
    this.listener.replaced();
    this.page.list?.toTop();
  }

  rebuild(): void {
    const { rows, complete } = this.shown;
    const dayOf = dayReader(this.page.address.zone);
    this.items = buildItems(rows.all, { opened: this.opened, dayOf, complete });
    this.page.requestUpdate();
  }

  toggleGroup({ members, open }: Group): void {
    for (const { cursor } of members) {
      if (open) this.opened.delete(cursor);
      else this.opened.add(cursor);
    }
    this.rebuild();
  }

  /** Load more rows when the end of the loaded ones is near. */
  readonly nearEnd = (): void => {
    const { view } = this;
    if (this.stale || view.state !== "ready" || view.complete || view.full || view.error) return;
    // Scrolling loads more; without it only the window is filled.
    if (view.rows.length > MAX_FILL && this.page.list?.atTop) return;
    void view.more();
  };

  /** Start a new list where the full one ends. */
  readonly continueBelow = (): void => {
    const last = this.shown.rows.all.at(-1);
    if (!last) return;
    const until = seconds(last.time_unix_nano);
    const range = { named: null, since: this.span.since ?? "", until };
    this.page.go({ ...this.page.address, range, live: false });
  };
}

/** The day of an event, cached: formatting a date for each of thousands of rows is slow. */
function dayReader(zone: Zone): (event: RealmEvent) => string {
  const days = new Map<number, string>();
  return (event) => {
    // In every time zone days begin at a quarter of an hour.
    const quarter = Math.floor(timeMs(event) / 900_000);
    let day = days.get(quarter);
    if (day === undefined) {
      day = formatTime(new Date(quarter * 900_000), { zone, date: true }).slice(0, 10);
      days.set(quarter, day);
    }
    return day;
  };
}

import { formatTime, timeMs, type Zone } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import type { LogPage } from "./log-page";
import { LogView } from "./log-view";
import { type Group, type Item, buildItems } from "./row-groups";
import { apiParams, resolveRange, seconds, type TimeSpan } from "./time-range";

/** Collapsed groups make short lists: up to this many rows are loaded to fill the window. */
const MAX_FILL = 3_000;

/** What the live tail and the selection must know about the rows. */
export interface ResultsListener {
  /** The rows of another address are requested. */
  asked(): void;
  /** The request has succeeded or failed. */
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

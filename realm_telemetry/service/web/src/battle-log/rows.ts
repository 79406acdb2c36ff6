import type { RealmEvent } from "../stream/event";

/** History goes by time, full text search by arrival. */
export type Order = "time" | "arrival";

/** Negative if `a` stands above `b`. */
export function compareRows(a: RealmEvent, b: RealmEvent, order: Order): number {
  if (order === "time" && a.time_unix_nano !== b.time_unix_nano) {
    // As texts: nanoseconds are beyond what JavaScript's numbers hold.
    const [left, right] = [a.time_unix_nano, b.time_unix_nano];
    if (left.length !== right.length) return right.length - left.length;
    return left < right ? 1 : -1;
  }
  return b.cursor - a.cursor;
}

/** The loaded rows of a query, newest first, each once. */
export class Rows {
  private events: RealmEvent[] = [];
  private readonly cursors = new Set<number>();

  constructor(readonly order: Order) {}

  get all(): readonly RealmEvent[] {
    return this.events;
  }

  get length(): number {
    return this.events.length;
  }

  has(cursor: number): boolean {
    return this.cursors.has(cursor);
  }

  /** Put events where they belong; returns how many are new. */
  add(events: readonly RealmEvent[]): number {
    const fresh = events.filter((event) => !this.cursors.has(event.cursor));
    if (!fresh.length) return 0;
    for (const event of fresh) this.cursors.add(event.cursor);
    const sorted = [...fresh].sort((a, b) => compareRows(a, b, this.order));
    const last = this.events.at(-1);
    // The usual case, a further page, costs nothing but its own rows.
    if (!last || compareRows(last, sorted[0]!, this.order) < 0) this.events.push(...sorted);
    else this.events = mergeRows(this.events, sorted, this.order);
    return fresh.length;
  }

  /** Forget all but the first `count`. */
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
  order: Order,
): RealmEvent[] {
  const merged: RealmEvent[] = [];
  let at = 0;
  for (const event of right) {
    while (at < left.length && compareRows(left[at]!, event, order) < 0) merged.push(left[at++]!);
    merged.push(event);
  }
  while (at < left.length) merged.push(left[at++]!);
  return merged;
}

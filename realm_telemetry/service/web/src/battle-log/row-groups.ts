import { formatCount, formatNumber } from "../shared/format";
import { isRoutine, type RealmEvent } from "../stream/event";

const LEAST_MEMBERS = 2;
/** The fields a group may summarise, the preferred first. */
const FIELDS = ["loss", "accuracy", "tokens_per_second", "value"] as const;

/** The lines of the list; all have the same height. */
export type Item =
  | { type: "day"; key: string; day: string }
  | { type: "event"; key: string; event: RealmEvent; member: boolean }
  | { type: "group"; key: string; group: Group };

export interface Group {
  kind: string;
  /** Newest first. */
  members: readonly RealmEvent[];
  open: boolean;
  /** The next rows are not loaded: the group may continue. */
  unfinished: boolean;
}

interface GroupingOptions {
  /** Cursors of opened groups; a group with any of them is open. */
  opened: ReadonlySet<number>;
  dayOf: (event: RealmEvent) => string;
  complete: boolean;
  /** Off for a search, which is ordered by arrival: its days are not in order. */
  days?: boolean;
}

/**
 * Collapse neighbouring routine rows, and insert the days.
 *
 * A sequence of routine rows becomes one line per kind and producer: steps and heartbeats
 * alternate, so that neighbours of one kind would be short.
 */
export function buildItems(events: readonly RealmEvent[], options: GroupingOptions): Item[] {
  const items: Item[] = [];
  let day = "";
  for (let at = 0; at < events.length; ) {
    const event = events[at]!;
    const today = options.days === false ? "" : options.dayOf(event);
    if (today !== day) items.push({ type: "day", key: `day-${today}-${at}`, day: (day = today) });
    if (!isRoutine(event.kind)) {
      items.push({ type: "event", key: event.id, event, member: false });
      at += 1;
      continue;
    }
    let end = at + 1;
    while (end < events.length && isRoutine(events[end]!.kind)) {
      if (day && options.dayOf(events[end]!) !== day) break;
      end += 1;
    }
    const unfinished = end === events.length && !options.complete;
    for (const members of bySeries(events, at, end)) addGroup(items, members, unfinished, options);
    at = end;
  }
  return items;
}

function bySeries(events: readonly RealmEvent[], from: number, to: number): RealmEvent[][] {
  const series = new Map<string, RealmEvent[]>();
  for (let at = from; at < to; at++) {
    const event = events[at]!;
    const key = `${event.kind} ${event.producer}`;
    const members = series.get(key);
    if (members) members.push(event);
    else series.set(key, [event]);
  }
  return [...series.values()];
}

function addGroup(
  items: Item[],
  members: readonly RealmEvent[],
  unfinished: boolean,
  { opened }: GroupingOptions,
): void {
  const single = members.length < LEAST_MEMBERS;
  const open = single || (opened.size > 0 && members.some((event) => opened.has(event.cursor)));
  const { kind, producer } = members[0]!;
  // The oldest member stays the same while newer ones arrive above. A live tail cuts the end of the
  // list; there is only one group of a kind and producer there.
  const key = `group-${kind}-${producer}-${unfinished ? "last" : members.at(-1)!.cursor}`;
  if (!single) items.push({ type: "group", key, group: { kind, members, open, unfinished } });
  if (!open) return;
  for (const event of members) items.push({ type: "event", key: event.id, event, member: !single });
}

/** The first field with numbers in two members or more, oldest first; null if there is none. */
export function groupSeries(group: Group): { field: string; values: number[] } | null {
  for (const field of FIELDS) {
    const values: number[] = [];
    for (let at = group.members.length - 1; at >= 0; at--) {
      const value = group.members[at]!.details[field];
      if (typeof value === "number" && Number.isFinite(value)) values.push(value);
    }
    if (values.length > 1) return { field, values };
  }
  return null;
}

/** "loss 0.4100 → 0.2300", or the newest message. */
export function groupText(group: Group): string {
  const series = groupSeries(group);
  if (!series) return group.members[0]?.message ?? "";
  const [first, last] = [series.values[0]!, series.values.at(-1)!];
  return `${series.field} ${formatNumber(first)} → ${formatNumber(last)}`;
}

export function groupCount(group: Group): string {
  return `× ${formatCount(group.members.length)}${group.unfinished ? "+" : ""}`;
}

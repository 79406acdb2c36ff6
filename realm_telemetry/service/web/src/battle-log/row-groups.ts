import { formatCount, formatNumber, shownText, timeMs } from "../shared/format";
import { isRoutine, type RealmEvent } from "../stream/event";
const LEAST_MEMBERS = 2;
/** As they arrive: JSON has no such numbers. */
const NOT_FINITE: ReadonlySet<unknown> = new Set(["NaN", "Infinity", "-Infinity"]);
/** Ranks say the same thing within so long. */
const TOGETHER_MS = 60_000;
/** So many missing ranks are named. */
const NAMED_RANKS = 4;
const SIGNS_OF_LIFE: ReadonlySet<string> = new Set(["worker_heartbeat", "resource_sampled"]);
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
  /** Of a line for several ranks: those that the run has. */
  ranks?: ReadonlySet<number> | undefined;
}

interface GroupingOptions {
  /** Cursors of opened groups; a group with any of them is open. */
  opened: ReadonlySet<number>;
  dayOf: (event: RealmEvent) => string;
  complete: boolean;
}

/**
 * Collapse neighbouring routine rows and the same event of several ranks, and insert the days.
 *
 * A sequence of routine rows becomes one line per kind and producer, heartbeats one per kind: steps and heartbeats
 * alternate, so that neighbours of one kind would be short.
 */
export function buildItems(events: readonly RealmEvent[], options: GroupingOptions): Item[] {
  const items: Item[] = [];
  const ranks = ranksOf(events);
  let day = "";
  for (let at = 0; at < events.length; ) {
    const event = events[at]!;
    const today = options.dayOf(event);
    if (today !== day) items.push({ type: "day", key: `day-${today}-${at}`, day: (day = today) });
    const fits = isRoutine(event.kind) ? (one: RealmEvent) => isRoutine(one.kind) : ofRanks(event);
    let end = at + 1;
    while (end < events.length && fits(events[end]!) && options.dayOf(events[end]!) === day) end += 1;
    const unfinished = end === events.length && !options.complete;
    for (const members of bySeries(events, at, end)) addGroup(items, members, unfinished, options, ranks);
    at = end;
  }
  return items;
}

/** Whether an event may be that of another rank of the same run, at about the same time. */
function ofRanks(first: RealmEvent): (one: RealmEvent) => boolean {
  if (first.rank === null || first.run_id === null) return () => false;
  const atMs = timeMs(first);
  return (one) => one.rank !== null && one.run_id === first.run_id && !isRoutine(one.kind) && atMs - timeMs(one) < TOGETHER_MS;
}

/** The ranks that each run has events of. */
function ranksOf(events: readonly RealmEvent[]): ReadonlyMap<string, ReadonlySet<number>> {
  const ranks = new Map<string, Set<number>>();
  for (const { run_id, rank } of events) {
    if (run_id === null || rank === null) continue;
    const known = ranks.get(run_id);
    if (known) known.add(rank);
    else ranks.set(run_id, new Set([rank]));
  }
  return ranks;
}

function bySeries(events: readonly RealmEvent[], from: number, to: number): RealmEvent[][] {
  const series = new Map<string, RealmEvent[]>();
  for (let at = from; at < to; at++) {
    const event = events[at]!;
    const key = seriesOf(event);
    const members = series.get(key);
    if (members) members.push(event);
    else series.set(key, [event]);
  }
  return [...series.values()];
}

/** Signs of life of many workers are one line; the steps of each run are a curve of its own; what all ranks say is one line. */
function seriesOf({ id, kind, producer, rank, run_id, message }: RealmEvent): string {
  if (SIGNS_OF_LIFE.has(kind)) return kind;
  if (isRoutine(kind)) return `${kind} ${rank === null ? producer : run_id}`;
  return rank === null ? id : `${kind} ${message.replace(/\brank \d+/i, "rank")}`;
}

function addGroup(
  items: Item[],
  members: readonly RealmEvent[],
  unfinished: boolean,
  { opened }: GroupingOptions,
  ranks: ReadonlyMap<string, ReadonlySet<number>>,
): void {
  const single = members.length < LEAST_MEMBERS;
  const open = single || (opened.size > 0 && members.some((event) => opened.has(event.cursor)));
  const { kind, run_id } = members[0]!;
  // The oldest member stays the same while newer ones arrive above. A live tail cuts the end of the
  // list; there is only one group of a kind and producer there.
  const key = `group-${seriesOf(members[0]!)}-${unfinished ? "last" : members.at(-1)!.cursor}`;
  if (!single) items.push({ type: "group", key, group: { kind, members, open, unfinished, ranks: isRoutine(kind) ? undefined : ranks.get(run_id ?? "") } });
  if (!open) return;
  for (const event of members) items.push({ type: "event", key: event.id, event, member: !single });
}

/** The first field with numbers in two members or more, oldest first; null if there is none. */
export function groupSeries(group: Group): { field: string; values: number[] } | null {
  for (const field of FIELDS) {
    const values: number[] = [];
    for (let at = group.members.length - 1; at >= 0; at--) {
      // A curve is that of one process: the newest one's.
      if (group.members[at]!.producer !== group.members[0]!.producer) continue;
      const value = group.members[at]!.details[field];
      if (typeof value === "number" && Number.isFinite(value)) values.push(value);
    }
    if (values.length > 1) return { field, values };
  }
  return null;
}

/** "of 30 processes", "rank 5 missing"; empty for one process. */
export function groupSources(group: Group): string {
  if (group.ranks) return ranksText(group);
  const count = new Set(group.members.map((event) => event.producer)).size;
  return count > 1 ? `of ${formatCount(count)} processes` : "";
}

function ranksText({ members, ranks, unfinished }: Group): string {
  const here = new Set(members.map((event) => event.rank));
  const missing = [...ranks!].filter((rank) => !here.has(rank)).sort((a, b) => a - b);
  if (!missing.length || unfinished) return `of ${formatCount(here.size)} ranks`;
  if (missing.length > NAMED_RANKS) return `of ${formatCount(ranks!.size)} ranks`;
  return `${missing.length === 1 ? "rank" : "ranks"} ${missing.join(", ")} missing`;
}

/** "NaN from step 60": the first value of a line that is not finite; empty if all are. */
export function groupNotFinite({ members }: Group): string {
  for (let at = members.length - 1; at >= 0; at--) {
    const { details } = members[at]!;
    const bad = FIELDS.find((field) => NOT_FINITE.has(details[field]));
    if (!bad) continue;
    const step = details["step"];
    return `${String(details[bad])}${typeof step === "number" ? ` from step ${formatCount(step)}` : ""}`;
  }
  return "";
}

/** "loss 0.4100 → 0.2300", or the newest message. */
export function groupText(group: Group): string {
  const series = groupSeries(group);
  if (!series || group.ranks) return shownText(group.members[0]?.message ?? "");
  const [first, last] = [series.values[0]!, series.values.at(-1)!];
  return `${series.field} ${formatNumber(first)} → ${formatNumber(last)}`;
}

export function groupCount(group: Group): string {
  return `× ${formatCount(group.members.length)}${group.unfinished ? "+" : ""}`;
}

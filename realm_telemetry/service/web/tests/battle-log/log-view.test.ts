import { describe, expect, it } from "vitest";
import { Arrivals } from "../../src/battle-log/live-tail";
import { buildItems, groupCount, groupText } from "../../src/battle-log/row-groups";
import { Rows } from "../../src/battle-log/log-view";
import { rowWindow, scrollToRow } from "../../src/battle-log/log-list";
import type { RealmEvent } from "../../src/stream/event";

function event(cursor: number, fields: Partial<RealmEvent> = {}): RealmEvent {
  return {
    id: `e${cursor}`, cursor, timestamp: "", time_unix_nano: `17644104${String(cursor).padStart(11, "0")}`,
    observed_unix_nano: null, kind: "note", channel: "system", severity: "info", icon: "", message: `Event ${cursor}`,
    details: {}, source: null, hero_id: null, campaign_id: null, run_id: null, producer: "aa", number: cursor,
    trace_id: null, span_id: null, trace_flags: 0, late: false, ...fields,
  };
}

const step = (cursor: number, loss: number, producer = "aa") =>
  event(cursor, { kind: "training_step", details: { loss }, producer });
const cursors = (rows: Rows) => rows.all.map((one) => one.cursor);

describe("rows", () => {
  it("neither repeat nor lose an event, however it comes", () => {
    const rows = new Rows("time");
    rows.add([event(9), event(7)]);
    rows.add([event(5), event(3)]);
    expect(rows.add([event(10), event(9), event(8), event(3)])).toBe(2);
    expect(cursors(rows)).toEqual([10, 9, 8, 7, 5, 3]);
  });

  it("keep the newest, and take the others again", () => {
    const rows = new Rows("time");
    rows.add([event(9), event(7), event(5)]);
    rows.keepNewest(2);
    expect(cursors(rows)).toEqual([9, 7]);
    expect(rows.add([event(7), event(5)])).toBe(1);
    expect(cursors(rows)).toEqual([9, 7, 5]);
  });

  it("put a late event where its time is, a hit where it arrived", () => {
    const late = event(11, { time_unix_nano: event(4).time_unix_nano });
    for (const [order, expected] of [["time", [9, 11, 3]], ["arrival", [11, 9, 3]]] as const) {
      const rows = new Rows(order);
      rows.add([event(9), event(3)]);
      rows.add([late]);
      expect(cursors(rows)).toEqual(expected);
    }
  });

  it("compare nanoseconds beyond what numbers hold", () => {
    const rows = new Rows("time");
    rows.add([event(1, { time_unix_nano: "1764410400000000002" }), event(2, { time_unix_nano: "1764410400000000001" })]);
    expect(cursors(rows)).toEqual([1, 2]);
  });
});

describe("grouping", () => {
  const options = { opened: new Set<number>(), dayOf: () => "2025-11-29", complete: true };
  const keys = (items: ReturnType<typeof buildItems>) => items.map((item) => item.type);

  it("collapses a stretch to one line for each kind and producer", () => {
    const beat = event(6, { kind: "worker_heartbeat", producer: "bb" });
    const events = [event(9), step(8, 0.23), beat, step(5, 0.3), step(4, 0.41), event(1)];
    const items = buildItems(events, options);
    expect(keys(items)).toEqual(["day", "event", "group", "event", "event"]);
    const group = items[2]!;
    if (group.type !== "group") throw new Error();
    expect(group.group.members.map((one) => one.cursor)).toEqual([8, 5, 4]);
    expect(groupText(group.group)).toBe("loss 0.4100 → 0.2300");
    expect(groupCount(group.group)).toBe("× 3");
  });

  it("opens by any member, and keeps its key while newer ones arrive", () => {
    const before = buildItems([step(5, 1), step(4, 2)], options);
    const opened = new Set([4]);
    const after = buildItems([step(6, 1), step(5, 1), step(4, 2)], { ...options, opened });
    expect(after[1]!.key).toBe(before[1]!.key);
    expect(keys(after)).toEqual(["day", "group", "event", "event", "event"]);
  });

  it("keeps the key of the last group while its end is cut off", () => {
    const unfinished = { ...options, complete: false };
    const [, before] = buildItems([step(5, 1), step(4, 2), step(3, 2)], unfinished);
    const [, after] = buildItems([step(6, 1), step(5, 1), step(4, 2)], unfinished);
    expect(after!.key).toBe(before!.key);
  });

  it("says that a group may go on below the loaded rows", () => {
    const [, group] = buildItems([step(5, 1), step(4, 2)], { ...options, complete: false });
    expect(group?.type === "group" && groupCount(group.group)).toBe("× 2+");
  });

  it("divides days, and not at all in a search", () => {
    const dayOf = (one: RealmEvent) => (one.cursor > 2 ? "B" : "A");
    const events = [step(4, 1), step(3, 1), step(2, 1), step(1, 1)];
    expect(keys(buildItems(events, { ...options, dayOf }))).toEqual(["day", "group", "day", "group"]);
    expect(keys(buildItems(events, { ...options, dayOf, days: false }))).toEqual(["group"]);
  });
});

describe("the window", () => {
  it("never holds more than 150 rows", () => {
    const { first, end } = rowWindow(400_000, 50_000, 34, 1_000_000);
    expect(end - first).toBe(150);
    expect(first).toBeLessThan(400_000 / 34);
  });

  it("stays within the rows", () => {
    expect(rowWindow(0, 600, 34, 3)).toEqual({ first: 0, end: 3 });
    expect(rowWindow(0, 600, 34, 0)).toEqual({ first: 0, end: 0 });
    expect(rowWindow(99_999, 600, 34, 10).end).toBe(10);
  });

  it("scrolls only as far as it must", () => {
    expect(scrollToRow(5, 0, 600, 34)).toBe(0);
    expect(scrollToRow(0, 340, 600, 34)).toBe(0);
    expect(scrollToRow(30, 0, 600, 34)).toBe(488);
  });
});

describe("arrivals", () => {
  it("counts what a coalesced event stands for, and forgets what the rows have", () => {
    const arrivals = new Arrivals((one) => one.channel === "system");
    arrivals.take({ type: "event", event: event(3) });
    arrivals.take({ type: "event", event: event(4, { coalesced: 9 }) });
    arrivals.take({ type: "event", event: event(5, { channel: "jobs" }) });
    expect(arrivals.count).toBe(11);
    expect(arrivals.drain().map((one) => one.cursor)).toEqual([3]);
    expect(arrivals.drain()).toEqual([]);
    // Shown, but in no count of the service's yet.
    expect(arrivals.count).toBe(11);
    arrivals.caughtUp(3);
    expect(arrivals.count).toBe(10);
    arrivals.caughtUp(4);
    expect(arrivals.count).toBe(0);
    expect(arrivals.take({ type: "event", event: event(4) })).toBe(false);
  });

  it("stays bounded, whatever comes", () => {
    const arrivals = new Arrivals(() => true);
    for (let n = 1; n <= 5_000; n++) arrivals.take({ type: "event", event: event(n) });
    expect(arrivals.count).toBe(5_000);
    expect(arrivals.drain()).toHaveLength(1_000);
  });
});

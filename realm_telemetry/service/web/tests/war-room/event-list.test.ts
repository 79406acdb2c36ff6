import { describe, expect, it } from "vitest";
import type { RealmEvent } from "../../src/stream/event";
import { Feed } from "../../src/war-room/event-list";
import { makeEvent } from "../events";
const snapshot = (...cursors: number[]) => ({
  type: "snapshot" as const,
  snapshot: { events: cursors.map((cursor) => makeEvent(cursor)), routine: [], cursor: cursors[0] ?? 0, log_id: "a" },
});
const arrival = (cursor: number, fields: Partial<RealmEvent> = {}) => ({
  type: "event" as const,
  event: makeEvent(cursor, fields),
});
const shown = (feed: Feed) => feed.rows.map((row) => (row.type === "event" ? row.event.cursor : "gap"));

describe("Feed", () => {
  it("shows the snapshot and new events, newest first, each once", () => {
    const feed = new Feed();
    feed.take(snapshot(2, 1), 0);
    feed.take(arrival(3), 0);
    feed.take(arrival(3), 0);
    feed.take(snapshot(3, 2, 1), 0);
    expect(shown(feed)).toEqual([3, 2, 1]);
  });

  it("holds new events back while the user reads, and loses none", () => {
    const feed = new Feed();
    feed.take(snapshot(1), 0);
    feed.hold(true);
    feed.take(arrival(2), 0);
    feed.take(arrival(3), 0);
    expect(shown(feed)).toEqual([1]);
    expect(feed.waiting).toHaveLength(2);
    feed.hold(false);
    expect(shown(feed)).toEqual([3, 2, 1]);
  });

  it("shows a gap after a reset", () => {
    const feed = new Feed();
    feed.take(snapshot(2, 1), 0);
    feed.take({ type: "reset", reason: "retention" }, 0);
    feed.take(snapshot(9, 8), 0);
    expect(shown(feed)).toEqual([9, 8, "gap", 2, 1]);
  });

  it("does not list routine and late events, but counts them", () => {
    const feed = new Feed();
    feed.take(arrival(1, { kind: "training_step", coalesced: 41 }), 0);
    feed.take(arrival(2, { late: true }), 0);
    expect(shown(feed)).toEqual([]);
    expect([feed.coalesced, feed.late]).toEqual([41, 1]);
  });

  it("counts all that wait, but keeps only as many as it can show", () => {
    const feed = new Feed();
    feed.hold(true);
    for (let cursor = 1; cursor <= 900; cursor++) feed.take(arrival(cursor), 0);
    expect([feed.waitingCount, feed.waiting.length]).toEqual([900, 300]);
    feed.hold(false);
    expect([feed.added, shown(feed)[0], shown(feed).at(-1)]).toEqual([900, 900, 601]);
  });

  it("is bounded", () => {
    const feed = new Feed();
    for (let cursor = 1; cursor <= 1_000; cursor++) feed.take(arrival(cursor), 0);
    expect(feed.rows).toHaveLength(300);
    expect(shown(feed)[0]).toBe(1_000);
  });
});

import { describe, expect, it } from "vitest";
import type { RealmEvent } from "../../src/stream/event";
import { lostItems } from "../../src/war-room/while-away";
import { titleOf } from "../../src/war-room/tab-badge";
import { Clocks, clockOffset } from "../../src/war-room/worker-clocks";
import { pillWord } from "../../src/war-room/page";
import { cluster, oddText } from "../../src/war-room/graph-marks";
import { EventRate } from "../../src/war-room/run-series";
import { type Receipt, Refresh } from "../../src/war-room/state";
import { makeEvent } from "../events";

describe("pillWord", () => {
  it("says stale only where something should be heard of", () => {
    expect(pillWord("live", false, 61, true)).toBe("Stale");
    expect(pillWord("live", false, 61, false)).toBe("Live");
    expect(pillWord("live", false, null, true)).toBe("Live");
  });
  it("says a lost connection before everything else", () => {
    expect(pillWord("reconnecting", true, 1, true)).toBe("Reconnecting");
    expect(pillWord("live", true, 1, true)).toBe("Paused");
  });
});

describe("Refresh", () => {
  it("asks only if something came, and not too often", () => {
    const refresh = new Refresh();
    refresh.began(0);
    expect(refresh.due(60_000, false)).toBe(false);
    refresh.want("later");
    expect(refresh.due(2_000, false)).toBe(false);
    refresh.want("soon");
    refresh.want("later");
    expect(refresh.due(2_000, false)).toBe(true);
    expect(refresh.due(2_000, true)).toBe(false);
  });
});

describe("EventRate", () => {
  it("counts events a second over the last minute", () => {
    const rate = new EventRate();
    rate.count(120, 1_000_000);
    expect(rate.perSecond(1_001_000)).toBe(2);
    expect(rate.perSecond(1_200_000)).toBe(0);
  });
});

describe("Clocks", () => {
  const heartbeat = (delayMs: number): RealmEvent => {
    const event = makeEvent(1, { kind: "worker_heartbeat", details: { worker_id: "w1" } });
    return { ...event, observed_unix_nano: String(BigInt(event.time_unix_nano) + BigInt(delayMs) * 1_000_000n) };
  };
  const offset = (...delays: number[]) => {
    const clocks = new Clocks();
    for (const delay of delays) clocks.heard(heartbeat(delay));
    return clocks.offset("w1");
  };
  it("takes the least delay, so that a slow way is not a wrong clock", () => {
    expect(offset(5_000, 4, 3_000)).toBe(0);
    expect(offset(5_000, 4_004)).toBeCloseTo(4.004);
    expect(offset(-2_000)).toBeCloseTo(-2);
  });
  it("is what the receipt says before a heartbeat", () => {
    const told = (clock_offset_ns: number, clocks = new Clocks()) => {
      const receipts = [{ producer: "aa", clock_offset_ns } as Receipt];
      return clockOffset({ worker_id: "w1", producer: "aa" }, { receipts, clocks });
    };
    expect(told(-2e9)).toBe(-2);
    expect(told(5e7)).toBe(0);
    expect(told(5e7 + 1)).toBeCloseTo(0.05);
    const heard = new Clocks();
    heard.heard(heartbeat(4));
    expect(told(-2e9, heard)).toBe(0);
  });
});

describe("cluster", () => {
  const at = (left: number, fields: Partial<RealmEvent>) => ({
    left,
    marker: { event: makeEvent(left, fields), step: null, timeMs: left },
  });
  it("makes one of those that would cover each other, the gravest", () => {
    const hits = cluster([at(50, {}), at(10, { severity: "success", kind: "x" }), at(14, { severity: "error", kind: "y" })]);
    expect(hits.map((hit) => [hit.left, hit.marker.event.severity, hit.count])).toEqual([[10, "error", 2], [50, "info", 1]]);
  });
});

describe("lostItems", () => {
  it("names the worker of a lost process", () => {
    const lost = makeEvent(1, { kind: "process_lost", severity: "error", producer: "aa", details: { service: "eval_worker" } });
    expect(lostItems([lost], new Map([["aa", "w2"]]))[0]!.text).toBe("w2 lost");
    expect(lostItems([lost], new Map())[0]!.text).toBe("eval_worker lost");
  });
});

describe("titleOf", () => {
  it("carries errors and loss", () => {
    expect(titleOf(0, null)).toBe("War Room");
    expect(titleOf(2, "0.2340")).toBe("(✕ 2) loss 0.2340 · War Room");
  });
});

describe("oddText", () => {
  it("tells NaN from infinities", () => {
    expect([Number.NaN, Infinity, -Infinity].map(oddText)).toEqual(["NaN", "∞", "−∞"]);
  });
});

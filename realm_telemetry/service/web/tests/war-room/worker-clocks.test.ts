import { describe, expect, it } from "vitest";
import type { RealmEvent } from "../../src/stream/event";
import type { Receipt } from "../../src/war-room/state";
import { WorkerClocks, clockOffset } from "../../src/war-room/worker-clocks";
import { makeEvent } from "../events";

describe("WorkerClocks", () => {
  const heartbeat = (delayMs: number): RealmEvent => {
    const event = makeEvent(1, { kind: "worker_heartbeat", details: { worker_id: "w1" } });
    return { ...event, observed_unix_nano: String(BigInt(event.time_unix_nano) + BigInt(delayMs) * 1_000_000n) };
  };
  const offset = (...delays: number[]) => {
    const clocks = new WorkerClocks();
    for (const delay of delays) clocks.heard(heartbeat(delay));
    return clocks.offset("w1");
  };
  it("takes the least delay, so that a slow network is not a wrong clock", () => {
    expect(offset(5_000, 4, 3_000)).toBe(0);
    expect(offset(5_000, 4_004)).toBeCloseTo(4.004);
    expect(offset(-2_000)).toBeCloseTo(-2);
  });
  it("uses the receipt before the first heartbeat", () => {
    const sent = (clock_offset_ns: number, clocks = new WorkerClocks()) => {
      const receipts = [{ producer: "aa", clock_offset_ns } as Receipt];
      return clockOffset({ worker_id: "w1", producer: "aa" }, { receipts, clocks });
    };
    expect(sent(-2e9)).toBe(-2);
    expect(sent(5e7)).toBe(0);
    expect(sent(5e7 + 1)).toBeCloseTo(0.05);
    const heard = new WorkerClocks();
    heard.heard(heartbeat(4));
    expect(sent(-2e9, heard)).toBe(0);
  });
});

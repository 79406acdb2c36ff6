import { describe, expect, it } from "vitest";
import type { RealmEvent } from "../../src/stream/event";
import { clockOffset, etaSeconds, liveRun, type Receipt, Refresh, type RunState, WorkerClocks, type WorkerState, workerStatus } from "../../src/war-room/state";
import { makeEvent } from "../events";

describe("etaSeconds", () => {
  const run = { status: "running", step: 25, total_steps: 100, started_at: "2025-11-29T10:00:00Z", step_at: "2025-11-29T10:01:00Z" } as RunState;
  it("uses the average pace", () => expect(etaSeconds(run, 0)).toBe(180));
  it("uses the pace of the latest steps if known: a resumed run did not begin at 0", () => {
    const points = [20, 25].map((step, n) => ({ step, timeMs: n * 1_000, loss: 1, learningRate: null, speed: null }));
    expect(etaSeconds(run, 0, points)).toBe(15);
  });
  it("is unknown for a run that has stopped or has no total", () => {
    expect(etaSeconds({ ...run, status: "completed" }, 0)).toBeNull();
    expect(etaSeconds({ ...run, total_steps: null }, 0)).toBeNull();
  });
  it("is unknown once no step has come for two minutes, or for five slow steps", () => {
    const lastMs = Date.parse(run.step_at!);
    expect(etaSeconds(run, lastMs + 120_000)).toBe(180);
    expect(etaSeconds(run, lastMs + 121_000)).toBeNull();
    const slow = { ...run, started_at: "2025-11-29T09:11:00Z" };
    expect(etaSeconds(slow, lastMs + 600_000)).toBe(9_000);
    expect(etaSeconds(slow, lastMs + 601_000)).toBeNull();
  });
});

describe("liveRun", () => {
  const run = { step: 25, total_steps: 100, loss: 2, learning_rate: 0.1, step_at: "2025-11-29T10:01:00Z" } as RunState;
  const point = (timeMs: number) => ({ step: 50, timeMs, loss: 1, learningRate: null, speed: null });
  it("takes what the stream delivered after the state", () => {
    const fresh = liveRun(run, point(Date.parse(run.step_at!) + 1));
    expect([fresh.step, fresh.loss, fresh.learning_rate, fresh.progress]).toEqual([50, 1, 0.1, 0.5]);
    expect(liveRun(run, point(Date.parse(run.step_at!)))).toBe(run);
  });
});

describe("workerStatus", () => {
  const worker = { status: "active", lost: false } as WorkerState;
  it("turns stale after 60 s without a response of the service", () => {
    expect(workerStatus(worker, 60)).toBe("active");
    expect(workerStatus(worker, 60.1)).toBe("stale");
    expect(workerStatus({ ...worker, lost: true }, 1)).toBe("lost");
    expect(workerStatus({ ...worker, status: "left" }, 900)).toBe("left");
  });
});

describe("Refresh", () => {
  it("requests only after new events, and not too often", () => {
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

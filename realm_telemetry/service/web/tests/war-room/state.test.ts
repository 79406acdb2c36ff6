import { describe, expect, it } from "vitest";
import { etaSeconds, liveRun, Refresh, workerStatus, type RunState, type WorkerState } from "../../src/war-room/state";

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

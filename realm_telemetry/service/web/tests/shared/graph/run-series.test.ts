import { describe, expect, it } from "vitest";
import { EventRate, RunSeries, toNumber } from "../../../src/shared/graph/run-series";
import { makeEvent } from "../../events";

const step = (n: number, loss: unknown, second = n) =>
  makeEvent(n, {
    kind: "training_step",
    details: { step: n, loss, learning_rate: 0.1 },
    time_unix_nano: String(BigInt(second) * 1_000_000_000n),
  });

function run(losses: unknown[]): RunSeries {
  const made = new RunSeries("r1");
  losses.forEach((loss, index) => made.step(step(index + 1, loss)));
  return made;
}

describe("RunSeries", () => {
  it("reads NaN and infinities", () => {
    expect([toNumber("NaN"), toNumber("Infinity"), toNumber("-Infinity"), toNumber("x"), toNumber(2)]).toEqual([
      Number.NaN, Infinity, -Infinity, null, 2,
    ]);
  });

  it("puts history before live points, without repeating them", () => {
    const made = run([3, 2]);
    made.load({ points: [[1, 1_000, 1, 3, 0.1, null, null]] });
    expect(made.points.map((point) => point.step)).toEqual([1, 2]);
  });

  it("stays bounded, and keeps non-finite values", () => {
    const made = new RunSeries("r1");
    for (let n = 1; n <= 50_000; n++) made.step(step(n, n === 777 ? "NaN" : 1 / n));
    expect(made.points.length).toBeLessThanOrEqual(6_000);
    expect(made.points.some((point) => Number.isNaN(point.loss))).toBe(true);
  });

  it("orders a coalesced step that arrives late by its time", () => {
    const made = new RunSeries("r1");
    for (const n of [1, 3, 2]) made.step(step(n, n));
    expect(made.points.map((point) => point.step)).toEqual([1, 2, 3]);
  });

  it("marks checkpoints, warnings and notes once", () => {
    const made = run([1]);
    const saved = makeEvent(7, { kind: "checkpoint_saved", details: { step: 5 } });
    for (const event of [saved, saved, makeEvent(8, { severity: "warning" }), makeEvent(9, { kind: "job_started" })]) {
      made.mark(event);
    }
    expect(made.markers.map((marker) => [marker.event.cursor, marker.step])).toEqual([[7, 5], [8, null]]);
  });

  it("knows the step at a time, and the time of a step", () => {
    const made = run([3, 2, 1]);
    expect([made.stepAt(500), made.stepAt(2_400), made.stepAt(9_000)]).toEqual([Number.NaN, 2, 3]);
    expect(made.nearest(2.2)?.timeMs).toBe(2_000);
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

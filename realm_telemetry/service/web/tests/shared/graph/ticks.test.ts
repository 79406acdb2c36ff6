import { describe, expect, it } from "vitest";
import { linearTicks, logTicks, timeTicks } from "../../../src/shared/graph/ticks";

describe("linearTicks", () => {
  it("are round numbers inside the range", () => {
    expect(linearTicks(0, 10, 5)).toEqual({ at: [0, 2, 4, 6, 8, 10], every: 2 });
    expect(linearTicks(-0.3, 0.31, 4).at).toEqual([-0.2, 0, 0.2]);
    expect(linearTicks(3.1, 9.7, 30, 1).at).toEqual([4, 5, 6, 7, 8, 9]);
  });
  it("are few, whatever the range", () => {
    for (const [min, max] of [[0, 1e15], [5e-9, 6e-9], [1e6, 1e6 + 1], [-3, 1e308]] as const) {
      expect(linearTicks(min, max, 8).at.length).toBeLessThan(10);
    }
  });
});

describe("timeTicks", () => {
  it("are full hours of the zone", () => {
    const { at, every } = timeTicks(1_000_000, 1_010_000, 4, 19_800);
    expect(every).toBe(3_600);
    expect(at.every((one) => (one + 19_800) % 3_600 === 0)).toBe(true);
  });
  it("leave years apart for very long ranges", () => expect(timeTicks(0, 3e9, 5, 0).at.length).toBeLessThan(7));
});

describe("logTicks", () => {
  it("are powers of ten, or round numbers where there is only one", () => {
    expect(logTicks(0.05, 200, 6).at).toEqual([0.1, 1, 10, 100]);
    expect(logTicks(2, 9, 4).at).toEqual([2, 4, 6, 8]);
    expect(logTicks(1e-12, 1e12, 5).at.length).toBeLessThan(7);
  });
});

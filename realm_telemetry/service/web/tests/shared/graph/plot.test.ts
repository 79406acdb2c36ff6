import { describe, expect, it } from "vitest";
import { linearTicks, logTicks, lossOf, plotOf, type PlotOptions, robustRange, timeTicks } from "../../../src/shared/graph/plot";
import { RunSeries } from "../../../src/shared/graph/run-series";
import { makeEvent } from "../../events";

/** A run of [step, loss, second] triples. */
function run(...points: [number, unknown, number][]): RunSeries {
  const made = new RunSeries("r1");
  for (const [step, loss, second] of points) {
    made.step(
      makeEvent(Math.round(second * 10), {
        kind: "training_step",
        details: { step, loss },
        time_unix_nano: String(BigInt(Math.round(second * 1_000)) * 1_000_000n),
      }),
    );
  }
  return made;
}

const plot = (runs: RunSeries[], options: Partial<PlotOptions> = {}) =>
  plotOf(runs, { axis: "step", smoothing: 0, pick: lossOf, ...options });

const steady = (count: number, everyS: number, from = 0): [number, unknown, number][] =>
  Array.from({ length: count }, (_, n) => [from + n + 1, 1, (from + n + 1) * everyS]);

describe("plotOf", () => {
  it("breaks the line at a non-finite value and returns it", () => {
    const made = plot([run([1, 3, 1], [2, "NaN", 2], [3, 1, 3], [4, "Infinity", 4])]);
    expect(made.x).toEqual([1, 2, 3, 4]);
    expect(made.y).toEqual([[3, null, 1, null]]);
    expect(made.nonFinite).toEqual([[{ x: 2, value: Number.NaN }, { x: 4, value: Infinity }]]);
  });

  it("breaks the line where a process sent nothing", () => {
    const silent = run(...steady(10, 1), [11, 1, 400], [12, 1, 401], [13, 1, 402]);
    expect(plot([silent]).y[0]!.filter((value) => value === null)).toHaveLength(1);
    expect(plot([silent], { axis: "time" }).x).toContain(205);
  });

  it("does not break the line between coarse history and dense live points", () => {
    const mixed = run(...steady(10, 60), ...Array.from({ length: 50 }, (_, n): [number, unknown, number] => [11 + n, 1, 600 + 0.1 * (n + 1)]));
    expect(plot([mixed]).y[0]).not.toContain(null);
  });

  it("joins runs on one axis and smooths", () => {
    const made = plot([run([1, 4, 1], [2, 2, 2]), run([2, 5, 2])], { smoothing: 0.5 });
    expect(made.x).toEqual([1, 2]);
    expect(made.y).toEqual([[4, 3], [undefined, 5]]);
  });

  it("extends a break over the points of other runs", () => {
    const made = plot([run([1, 4, 1], [3, "NaN", 3], [5, 2, 5]), run([2, 5, 2], [4, 5, 4])]);
    expect(made.y).toEqual([[4, null, null, null, 2], [undefined, 5, undefined, 5, undefined]]);
  });

  it("shows the repeated steps of a resumed run, not the first ones", () => {
    const resumed = run([1, 9, 1], [2, 8, 2], [3, 99, 3], [2, 7, 10], [3, 6, 11]);
    expect(plot([resumed]).y).toEqual([[9, 7, 6]]);
    expect(plot([resumed], { axis: "time" }).y[0]).toEqual([9, 8, 99, 7, 6]);
  });

  it("leaves out zero on a logarithmic axis", () => {
    expect(plot([run([1, 1, 1], [2, 0, 2], [3, 0.1, 3])], { log: true }).x).toEqual([1, 3]);
  });
});

describe("robustRange", () => {
  it("ignores a few outliers", () => {
    const values = [1e6, ...Array<number>(99).fill(10), 11];
    expect(robustRange([values])![1]).toBeLessThan(20);
  });
  it("is unknown without values", () => expect(robustRange([[null, undefined]])).toBeNull());
});

describe("a run that resumed", () => {
  it("has one line, and beside it what it made again", () => {
    const resumed = run([1, 5, 1], [2, 4, 2], [3, 3, 3], [2, 4.5, 4], [3, 3.5, 5], [4, 3, 6]);
    const made = plot([resumed]);
    expect(made.y).toEqual([[5, 4.5, 3.5, 3]]);
    expect(made.overwritten).toEqual([{ x: [2, 3], y: [[4, 3]] }]);
  });
});

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

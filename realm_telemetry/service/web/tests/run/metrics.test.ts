import { describe, expect, it } from "vitest";
import { curvesOf, fieldOf, grouped, hasSteps, metricNames } from "../../src/run/metrics";

describe("metricNames", () => {
  it("finds all numbers, NaN among them, loss first", () => {
    const details = { step: 3, zeta: 1, loss: "NaN", "eval/loss": 2, metrics: { f1: 0.5, name: "x" }, tags: [1], ok: true };
    expect(metricNames([{ details }, { details: { late: 1 } }])).toEqual(["loss", "eval/loss", "late", "metrics.f1", "zeta"]);
  });
});

it("writes names as the API reads them", () => {
  expect(["train/loss", "a.b", "a,b", "a:b", '"x"'].map(fieldOf)).toEqual(["train/loss", "a.b", '"a,b"', '"a:b"', '"\\"x\\""']);
});

it("groups by what stands before the first slash or dot", () => {
  expect(grouped(["loss", "train/a", "eval.b", "train/c", "/x"])).toEqual([
    { prefix: "", names: ["loss", "/x"] },
    { prefix: "train", names: ["train/a", "train/c"] },
    { prefix: "eval", names: ["eval.b"] },
  ]);
});

describe("curvesOf", () => {
  const answer = {
    points: [
      [1, 1_000, 1, 3, null],
      [2, 2_000, 2, "NaN", 5],
      [3, 3_000, 3, "Infinity", null],
    ] as [number, number, unknown, ...unknown[]][],
  };

  it("says from where a number is none, and its least and greatest", () => {
    const [loss, other] = curvesOf(answer, ["loss", "other", "never"]);
    expect(loss).toMatchObject({ least: 3, greatest: 3, notFinite: { step: 2 } });
    expect(loss!.last).toBe(Infinity);
    expect(other).toMatchObject({ last: 5, least: 5, notFinite: null });
    expect(other!.series.points).toHaveLength(1);
  });

  it("leaves out what has no value", () => {
    expect(curvesOf(answer, ["loss", "other", "never"])).toHaveLength(2);
  });

  it("knows what has no steps", () => {
    const machine = curvesOf({ points: [[1, 1_000, null, 4]] }, ["cpu"]);
    expect(hasSteps(machine[0]!)).toBe(false);
  });
});

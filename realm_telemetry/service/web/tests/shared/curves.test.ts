import { expect, it } from "vitest";
import { curvesOf, grouped, ranksOf, type CurvesAnswer, type Metric } from "../../src/shared/curves";

const metric: Metric = { name: "loss", label: "loss", axis: "step", ranks: [0, 3], last: 2, least: 2, greatest: 9, not_finite: 1, first_not_finite_step: 2, first_not_finite: "NaN" };
const none = { count: 0, points: [] };
const answer: CurvesAnswer = {
  building: null,
  groups: [
    { prefix: "", machine: false, metrics: [metric, { ...metric, name: "unread" }] },
    { prefix: "cpu", machine: true, metrics: [{ ...metric, name: "cpu/percent", axis: "time", ranks: [1], not_finite: 0, first_not_finite: null }] },
  ],
  series: [
    { name: "cpu/percent", rank: 1, steps: null, times: [5], values: [80], not_finite: none },
    { name: "loss", rank: 0, steps: [1, 3], times: [10, 30], values: [9, 4], not_finite: { count: 1, points: [{ step: 2, time: 20, value: "NaN" }] } },
    { name: "loss", rank: 0, steps: [3, 4], times: [50, 60], values: [3, 2], not_finite: none },
    { name: "loss", rank: 3, steps: [4], times: [60], values: [7], not_finite: none },
  ],
};

it("joins the attempts of a run and puts values that are not finite in their places", () => {
  const [loss, cpu, ...rest] = curvesOf(answer);
  expect(rest).toEqual([]);
  expect(loss!.series[0]!.points.map((point) => [point.step, point.value])).toEqual([[1, 9], [2, Number.NaN], [3, 4], [3, 3], [4, 2]]);
  expect(loss!.notFinite).toEqual({ step: 2, value: Number.NaN });
  expect([loss!.last, cpu!.name, cpu!.notFinite, cpu!.hasSteps]).toEqual([2, "cpu/percent", null, false]);
});

it("has a line for each rank", () => {
  const [loss] = curvesOf(answer);
  expect(loss!.series.map(({ id, points }) => [id, points.length])).toEqual([["rank 0", 5], ["rank 3", 1]]);
});

it("knows the ranks that have numbers", () => expect(ranksOf(answer)).toEqual([0, 1, 3]));

it("has headings for prefixes of two and more", () => {
  const of = (prefix: string, name: string) => ({ prefix, name });
  const groups = grouped([of("", "loss"), of("train", "a"), of("train", "b"), of("eval", "c")]);
  expect(groups.map(({ heading, members }) => [heading, members.map(({ name }) => name)])).toEqual([
    ["", ["loss"]], ["train", ["a", "b"]], ["", ["c"]],
  ]);
});

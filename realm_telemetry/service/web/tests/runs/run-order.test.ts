import { describe, expect, it } from "vitest";
import { chosen, countsOf, sorted, USUAL } from "../../src/runs/run-order";
import { makeRun } from "../run";

const names = (runs: { run_id: string }[]) => runs.map((run) => run.run_id);

const runs = [
  makeRun("old-open", { status: "running", started_at: "2026-01-01T00:00:00Z", loss: 0.5 }),
  makeRun("new-failed", { status: "failed", started_at: "2026-01-03T00:00:00Z", loss: "NaN", reason: "KeyError: 'x'" }),
  makeRun("run-10", { status: "completed", started_at: "2026-01-02T00:00:00Z", loss: 0.25, hosts: ["node-7"] }),
  makeRun("run-9", { status: "completed", started_at: "2026-01-02T12:00:00Z", loss: null }),
];

describe("sorted", () => {
  it("has open runs first, then the newest", () => {
    expect(names(sorted(runs, USUAL))).toEqual(["old-open", "new-failed", "run-9", "run-10"]);
  });

  it("puts what has no number last, either way round", () => {
    expect(names(sorted(runs, { column: "loss", descending: false })).slice(0, 2)).toEqual(["run-10", "old-open"]);
    expect(names(sorted(runs, { column: "loss", descending: true })).slice(0, 2)).toEqual(["old-open", "run-10"]);
  });

  it("knows that 9 comes before 10 in names", () => {
    expect(names(sorted(runs, { column: "name", descending: false })).slice(-2)).toEqual(["run-9", "run-10"]);
  });

  it("has the worst status first", () => {
    expect(names(sorted(runs, { column: "status", descending: false }))[0]).toBe("new-failed");
  });

  it("sorts ten thousand in a moment", () => {
    const many = Array.from({ length: 10_000 }, (_, n) => makeRun(`run-${(n * 7919) % 10_000}`, { loss: (n * 31) % 997 }));
    const began = performance.now();
    sorted(many, { column: "name", descending: false });
    sorted(many, { column: "loss", descending: true });
    expect(performance.now() - began).toBeLessThan(3_000);
  });
});

describe("chosen", () => {
  it("needs every word, in any case and any field", () => {
    expect(names(chosen(runs, { status: "", warning: "", text: "keyerror NEW" }))).toEqual(["new-failed"]);
    expect(names(chosen(runs, { status: "", warning: "", text: "node-7" }))).toEqual(["run-10"]);
    expect(chosen(runs, { status: "", warning: "", text: "node-7 keyerror" })).toEqual([]);
  });

  it("filters by status", () => {
    expect(names(chosen(runs, { status: "completed", warning: "", text: "" }))).toEqual(["run-10", "run-9"]);
  });
});

it("counts by status", () => {
  expect(countsOf(runs).get("completed")).toBe(2);
});

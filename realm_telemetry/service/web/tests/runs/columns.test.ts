import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HIDEABLE, lookOfColumn, metricColumn, MOST_METRICS, readColumns, remember, shownColumns, USUAL_COLUMNS, writeColumns, type Columns } from "../../src/runs/columns";
import { makeRun } from "../run";

const ODD = ["eval/loss, best", "100 % & a=b?#", "جودة/٧", "metric:host", "constructor", ""];

beforeEach(() => localStorage.clear());
afterEach(() => localStorage.clear());

function through(columns: Columns): Columns {
  const params = new URLSearchParams();
  writeColumns(columns, params);
  return readColumns(new URLSearchParams(params.toString()));
}

describe("the columns of an address", () => {
  it("come back as they were, whatever characters a name has", () => {
    const columns = { metrics: ODD.slice(0, -1), hidden: new Set(["host", "tags"]) };
    expect(through(columns)).toEqual(columns);
  });

  it("win over those that are remembered", () => {
    remember({ metrics: ["acc"], hidden: new Set(["host"]) });
    expect(readColumns(new URLSearchParams("metric=loss"))).toEqual({ metrics: ["loss"], hidden: new Set() });
    expect(readColumns(new URLSearchParams("status=failed"))).toEqual({ metrics: ["acc"], hidden: new Set(["host"]) });
  });

  it("are no more than there can be, whoever wrote them", () => {
    const params = new URLSearchParams([...Array(30).keys()].map((n) => ["metric", `m${n}`]));
    params.append("metric", "*");
    params.set("hide", "name,status,nobody,ranks");
    expect(readColumns(params).metrics).toHaveLength(MOST_METRICS);
    expect(readColumns(params).hidden).toEqual(new Set(["ranks"]));
  });

  it("are the usual ones where what is remembered is none", () => {
    for (const text of ["", "7", "null", '{"metrics": 7, "hidden": {}}', '{"metrics": [7, null, ""]}']) {
      localStorage.setItem("realm-run-columns", text);
      expect(readColumns(new URLSearchParams())).toEqual(USUAL_COLUMNS);
    }
  });
});

describe("a column of a number", () => {
  it("sorts by the last value; words and missing ones are no numbers", () => {
    const { value } = lookOfColumn(metricColumn("a,b"))!;
    expect([0.5, "NaN", undefined].map((last) => value(makeRun("r", { metrics: { "a,b": last } })))).toEqual([0.5, null, null]);
    expect(value(makeRun("r"))).toBe(null);
  });

  it("is none of the others, whatever it is called", () => {
    expect(lookOfColumn("constructor")).toBe(null);
    expect(lookOfColumn("metric:constructor")!.label).toBe("constructor");
  });
});

it("has tags only where a run has some", () => {
  expect(shownColumns(USUAL_COLUMNS, [makeRun("r")])).not.toContain("tags");
  expect(shownColumns(USUAL_COLUMNS, [makeRun("r"), makeRun("s", { tags: ["a"] })])).toContain("tags");
  expect(shownColumns({ metrics: ["x"], hidden: new Set(HIDEABLE) }, [makeRun("s", { tags: ["a"] })])).toEqual(["status", "name", "metric:x"]);
});

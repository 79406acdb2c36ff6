import { describe, expect, it } from "vitest";
import { Rows } from "../../src/battle-log/log-view";
import { makeEvent } from "../events";

const cursors = (rows: Rows) => rows.all.map((one) => one.cursor);

describe("rows", () => {
  it("neither repeat nor lose an event", () => {
    const rows = new Rows();
    rows.add([makeEvent(9), makeEvent(7)]);
    rows.add([makeEvent(5), makeEvent(3)]);
    expect(rows.add([makeEvent(10), makeEvent(9), makeEvent(8), makeEvent(3)])).toBe(2);
    expect(cursors(rows)).toEqual([10, 9, 8, 7, 5, 3]);
  });

  it("keep the newest, and accept the others again", () => {
    const rows = new Rows();
    rows.add([makeEvent(9), makeEvent(7), makeEvent(5)]);
    rows.keepNewest(2);
    expect(cursors(rows)).toEqual([9, 7]);
    expect(rows.add([makeEvent(7), makeEvent(5)])).toBe(1);
    expect(cursors(rows)).toEqual([9, 7, 5]);
  });

  it("order a late event by time", () => {
    const late = makeEvent(11, { time_unix_nano: makeEvent(4).time_unix_nano });
    const rows = new Rows();
    rows.add([makeEvent(9), makeEvent(3)]);
    rows.add([late]);
    expect(cursors(rows)).toEqual([9, 11, 3]);
  });

  it("compare nanoseconds beyond what numbers hold", () => {
    const rows = new Rows();
    rows.add([makeEvent(1, { time_unix_nano: "1764410400000000002" }), makeEvent(2, { time_unix_nano: "1764410400000000001" })]);
    expect(cursors(rows)).toEqual([1, 2]);
  });
});

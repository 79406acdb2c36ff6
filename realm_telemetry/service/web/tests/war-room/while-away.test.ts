import { describe, expect, it } from "vitest";
import { awayItems, lostItems } from "../../src/war-room/while-away";
import { makeEvent } from "../events";

describe("awayItems", () => {
  it("counts what matters, each a link", () => {
    const items = awayItems(
      [
        { kind: "job_failed", severity: "error", count: 2 },
        { kind: "process_lost", severity: "error", count: 1 },
        { kind: "note", severity: "info", count: 9 },
      ],
      0,
    );
    expect(items.map((item) => item.text)).toEqual(["3 errors", "2 jobs failed"]);
    expect(items[0]!.href).toContain("severity=error");
  });
});

describe("lostItems", () => {
  it("names the worker of a lost process", () => {
    const lost = makeEvent(1, { kind: "process_lost", severity: "error", producer: "aa", details: { service: "eval_worker" } });
    expect(lostItems([lost], new Map([["aa", "w2"]]))[0]!.text).toBe("w2 lost");
    expect(lostItems([lost], new Map())[0]!.text).toBe("eval_worker lost");
    expect(lostItems([{ ...lost, details: {} }], new Map())[0]!.text).toBe("1 process lost");
  });
});

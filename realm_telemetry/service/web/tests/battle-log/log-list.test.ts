import { describe, expect, it } from "vitest";
import { rowWindow, scrollToRow } from "../../src/battle-log/log-list";

describe("the window", () => {
  it("never holds more than 150 rows", () => {
    const { first, end } = rowWindow(400_000, 50_000, 34, 1_000_000);
    expect(end - first).toBe(150);
    expect(first).toBeLessThan(400_000 / 34);
  });

  it("stays within the rows", () => {
    expect(rowWindow(0, 600, 34, 3)).toEqual({ first: 0, end: 3 });
    expect(rowWindow(0, 600, 34, 0)).toEqual({ first: 0, end: 0 });
    expect(rowWindow(99_999, 600, 34, 10).end).toBe(10);
  });

  it("scrolls only as far as it must", () => {
    expect(scrollToRow(5, 0, 600, 34)).toBe(0);
    expect(scrollToRow(0, 340, 600, 34)).toBe(0);
    expect(scrollToRow(30, 0, 600, 34)).toBe(488);
  });
});

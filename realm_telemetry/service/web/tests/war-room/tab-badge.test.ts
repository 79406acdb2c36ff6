import { describe, expect, it } from "vitest";
import { titleOf } from "../../src/war-room/tab-badge";

describe("titleOf", () => {
  it("has errors and loss", () => {
    expect(titleOf(0, null)).toBe("War Room");
    expect(titleOf(2, "0.2340")).toBe("(✕ 2) loss 0.2340 · War Room");
  });
});

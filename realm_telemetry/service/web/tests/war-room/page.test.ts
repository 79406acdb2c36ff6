import { describe, expect, it } from "vitest";
import { pillWord, titleOf } from "../../src/war-room/page";

describe("pillWord", () => {
  it("says stale only if something should send events", () => {
    expect(pillWord("live", false, 61, true)).toBe("Stale");
    expect(pillWord("live", false, 61, false)).toBe("Live");
    expect(pillWord("live", false, null, true)).toBe("Live");
  });
  it("shows a lost connection before everything else", () => {
    expect(pillWord("reconnecting", true, 1, true)).toBe("Reconnecting");
    expect(pillWord("live", true, 1, true)).toBe("Paused");
  });
});

describe("titleOf", () => {
  it("has errors and loss", () => {
    expect(titleOf(0, null)).toBe("War Room");
    expect(titleOf(2, "0.2340")).toBe("(✕ 2) loss 0.2340 · War Room");
  });
});

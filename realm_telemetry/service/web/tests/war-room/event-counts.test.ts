import { describe, expect, it } from "vitest";
import { sumReceipts } from "../../src/war-room/event-counts";
import type { Receipt } from "../../src/war-room/state";

const receipt = (fields: Partial<Receipt>): Receipt => ({
  producer: "aa", emitted: 10, stored: 10, dropped: 0, ended: true, complete: true, clock_offset_ns: 0, ...fields,
});

describe("sumReceipts", () => {
  it("adds up what is complete", () => {
    expect(sumReceipts([receipt({}), receipt({ emitted: 5, stored: 5 })])).toEqual({
      emitted: 15, stored: 15, dropped: 0, open: 0, openStored: 0, complete: true,
    });
  });

  it("does not call it complete while something is missing or dropped", () => {
    expect(sumReceipts([receipt({ stored: 9, complete: false })]).complete).toBe(false);
    expect(sumReceipts([receipt({ dropped: 3, complete: false })]).dropped).toBe(3);
    expect(sumReceipts([receipt({ emitted: null, complete: false })]).open).toBe(1);
  });
});

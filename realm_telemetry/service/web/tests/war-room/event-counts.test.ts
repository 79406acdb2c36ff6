import { describe, expect, it } from "vitest";
import { receiptsText, sumReceipts } from "../../src/war-room/event-counts";
import type { Receipt } from "../../src/war-room/state";

const receipt = (fields: Partial<Receipt>): Receipt => ({
  producer: "aa", emitted: 10, stored: 10, dropped: 0, ended: true, complete: true, clock_offset_ns: 0, ...fields,
});

describe("sumReceipts", () => {
  it("adds up complete receipts", () => {
    expect(sumReceipts([receipt({}), receipt({ emitted: 5, stored: 5 })])).toEqual({
      emitted: 15, stored: 15, dropped: 0, open: 0, openStored: 0, complete: true,
    });
  });

  it("is not complete while events are missing or dropped", () => {
    expect(sumReceipts([receipt({ stored: 9, complete: false })]).complete).toBe(false);
    expect(sumReceipts([receipt({ dropped: 3, complete: false })]).dropped).toBe(3);
    expect(sumReceipts([receipt({ emitted: null, complete: false })]).open).toBe(1);
  });
});

describe("receiptsText", () => {
  const text = (...receipts: Receipt[]) => receiptsText(sumReceipts(receipts));
  const running = (stored: number) => receipt({ emitted: null, stored, complete: false, ended: false });

  it.each([
    ["All 1,774 events stored.", [receipt({ emitted: 1_774, stored: 1_774 })]],
    ["All 1,774 events stored. 1 process still running (40 so far).", [receipt({ emitted: 1_774, stored: 1_774 }), running(40)]],
    ["1 event stored. 2 processes still running (3 so far).", [receipt({ emitted: 1, stored: 1 }), running(1), running(2)]],
    ["9 of 10 events stored, 1 missing.", [receipt({ stored: 9, complete: false })]],
    ["10 events stored.", [receipt({ dropped: 3, complete: false })]],
    ["", []],
  ])("says: %s", (expected, receipts) => expect(text(...receipts)).toBe(expected));
});

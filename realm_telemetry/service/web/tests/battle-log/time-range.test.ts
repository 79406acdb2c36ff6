import { describe, expect, it } from "vitest";
import { lastNight, momentMs, rangeText, resolveRange, resolveTime } from "../../src/battle-log/time-range";

const NOW = new Date("2025-11-29T10:00:00.000Z");

describe("ranges", () => {
  it("makes relative times absolute and leaves the rest to the service", () => {
    expect(resolveTime("24h", NOW)).toBe("2025-11-28T10:00:00.000Z");
    expect(resolveTime("15m ago", NOW)).toBe("2025-11-29T09:45:00.000Z");
    expect(resolveTime("now", NOW)).toBe(NOW.toISOString());
    expect(resolveTime("2025-11-01", NOW)).toBe("2025-11-01");
    expect(resolveTime("yesterday", NOW)).toBe("yesterday");
    expect(resolveTime("", NOW)).toBeNull();
  });

  it("has no limits for all time", () => {
    const all = { named: "all", since: "", until: "" } as const;
    expect(resolveRange(all, NOW, "utc")).toEqual({ since: null, until: null });
  });

  it("takes the last night, or the current one", () => {
    expect(lastNight(NOW, "utc")).toEqual({
      since: "2025-11-28T18:00:00.000Z",
      until: "2025-11-29T08:00:00.000Z",
    });
    const early = new Date("2025-11-29T03:00:00.000Z");
    expect(lastNight(early, "utc")).toEqual({ since: "2025-11-28T18:00:00.000Z", until: null });
  });

  it("reads times as the service does: without a zone they are UTC", () => {
    expect(momentMs("2025-11-29")).toBe(Date.UTC(2025, 10, 29));
    expect(momentMs("2025-11-29T10:00:00")).toBe(NOW.getTime());
    expect(momentMs("2025-11-29T11:00:00+01:00")).toBe(NOW.getTime());
    expect(momentMs("1764410400.5")).toBe(1764410400500);
    expect(momentMs("soon")).toBeNaN();
  });

  it("is written in words", () => {
    expect(rangeText({ named: "last-night", since: "", until: "" }, "utc")).toBe("last night");
    expect(rangeText({ named: null, since: "24h", until: "" }, "utc")).toBe("last 24 hours");
    const both = { named: null, since: "2025-11-29", until: "2025-11-30" };
    expect(rangeText(both, "utc")).toBe("2025-11-29 00:00:00 – 2025-11-30 00:00:00");
  });
});

import { describe, expect, it } from "vitest";
import { dataKey, lastNight, momentMs, rangeText, readAddress, resolveRange, resolveTime, toggled, writeAddress } from "../../src/battle-log/address";

describe("the address", () => {
  it("is empty for the default", () => {
    expect(writeAddress(readAddress(""))).toBe("");
    expect(readAddress("").range.since).toBe("24h");
  });

  it.each([
    "?channel=jobs,eval&severity=error&q=out+of+memory&has=worker.id:w1&not=step:3",
    "?since=7d",
    "?range=all&as_of=12&event=00000000000000bb0000000000000001",
    "?range=last-night&live=1&tz=utc&view=summary",
    "?since=2025-11-29T10:00:00.000Z&until=2025-11-29T11:00:00.000Z",
    "?has=a:1&has=b:x,y",
  ])("reads what it writes: %s", (search) => {
    expect(writeAddress(readAddress(search))).toBe(search);
  });

  it("takes channels as an alias and lists given twice", () => {
    expect(readAddress("?channels=jobs&channel=eval,jobs").query.lists.channel).toEqual(["eval", "jobs"]);
  });

  it("ignores an as_of that is no cursor", () => {
    expect(readAddress("?as_of=-1").asOf).toBeNull();
    expect(readAddress("?as_of=x").asOf).toBeNull();
  });

  it("needs a new request for other rows only", () => {
    const address = readAddress("?channel=jobs");
    expect(dataKey({ ...address, event: "1", view: "summary", live: true })).toBe(dataKey(address));
    expect(dataKey({ ...address, zone: "utc" })).toBe(dataKey(address));
    const query = toggled(address.query, "channel", "jobs");
    expect(dataKey({ ...address, query })).not.toBe(dataKey(address));
  });
});

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

import { describe, expect, it } from "vitest";
import { dataKey, readAddress, toggled, writeAddress } from "../../src/battle-log/address";

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

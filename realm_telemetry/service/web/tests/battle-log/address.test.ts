import { describe, expect, it } from "vitest";
import { dataKey, readPlace, toggled, writePlace } from "../../src/battle-log/address";

describe("the place in the address", () => {
  it("is empty for the default", () => {
    expect(writePlace(readPlace(""))).toBe("");
    expect(readPlace("").range.since).toBe("24h");
  });

  it.each([
    "?channel=jobs,eval&severity=error&q=out+of+memory&has=worker.id:w1&not=step:3",
    "?since=7d",
    "?range=all&as_of=12&event=00000000000000bb0000000000000001",
    "?range=last-night&live=1&tz=utc&view=summary",
    "?since=2025-11-29T10:00:00.000Z&until=2025-11-29T11:00:00.000Z",
    "?has=a:1&has=b:x,y",
  ])("reads what it writes: %s", (search) => {
    expect(writePlace(readPlace(search))).toBe(search);
  });

  it("takes channels as an alias and lists given twice", () => {
    expect(readPlace("?channels=jobs&channel=eval,jobs").query.lists.channel).toEqual(["eval", "jobs"]);
  });

  it("ignores an as_of that is no cursor", () => {
    expect(readPlace("?as_of=-1").asOf).toBeNull();
    expect(readPlace("?as_of=x").asOf).toBeNull();
  });

  it("asks anew for other rows only", () => {
    const place = readPlace("?channel=jobs");
    expect(dataKey({ ...place, event: "1", view: "summary", live: true })).toBe(dataKey(place));
    expect(dataKey({ ...place, zone: "utc" })).toBe(dataKey(place));
    const query = toggled(place.query, "channel", "jobs");
    expect(dataKey({ ...place, query })).not.toBe(dataKey(place));
  });
});

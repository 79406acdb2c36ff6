import { describe, expect, it } from "vitest";
import { allRemovals } from "../../src/battle-log/active-filters";
import { readPlace, writePlace } from "../../src/battle-log/address";

describe("filters taken away one by one", () => {
  it("names each, the range too", () => {
    const place = readPlace("?channel=jobs&q=x&has=a:1&not=b:2&since=1h");
    const removals = allRemovals(place);
    expect(removals.map((one) => one.label)).toEqual([
      "text: x",
      "channel: jobs",
      "a = 1",
      "b ≠ 2",
      "time: 1 h",
    ]);
    expect(writePlace(removals[2]!.without)).toBe("?channel=jobs&q=x&not=b:2&since=1h");
  });
});

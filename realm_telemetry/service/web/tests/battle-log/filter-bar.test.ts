import { describe, expect, it } from "vitest";
import { readAddress, writeAddress } from "../../src/battle-log/address";
import { activeFiltersAndRange } from "../../src/battle-log/filter-bar";
describe("active filters", () => {
  it("are listed one by one, with the time range", () => {
    const address = readAddress("?channel=jobs&q=x&has=a:1&not=b:2&since=1h");
    const activeFilters = activeFiltersAndRange(address);
    expect(activeFilters.map((one) => one.label)).toEqual([
      "text: x",
      "channel: jobs",
      "a = 1",
      "b ≠ 2",
      "time: last hour",
    ]);
    expect(writeAddress(activeFilters[2]!.without)).toBe("?channel=jobs&q=x&not=b:2&since=1h");
  });
});

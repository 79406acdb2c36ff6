import { describe, expect, it } from "vitest";
import { dailyCounts, lastDays, shade } from "../../src/battle-log/daily-summary";

describe("daily counts", () => {
  it("have a cell for every day", () => {
    const days = lastDays(new Date("2025-11-02T05:00:00Z"), 3);
    expect(days).toEqual(["2025-10-31", "2025-11-01", "2025-11-02"]);
    const rows = [
      { channel: "jobs", severity: "info", day: "2025-11-01", count: 3 },
      { channel: "jobs", severity: "error", day: "2025-11-01", count: 1 },
    ];
    const [jobs, evals] = dailyCounts(rows, ["jobs", "eval"], days);
    expect(jobs).toMatchObject({ total: 4, days: [{ count: 0 }, { count: 4, errors: 1 }, { count: 0 }] });
    expect(evals!.total).toBe(0);
    expect([shade(0, 9), shade(1, 1_000), shade(1_000, 1_000)]).toEqual([0, 1, 4]);
  });
});

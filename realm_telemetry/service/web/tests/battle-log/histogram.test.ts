import { describe, expect, it } from "vitest";
import { barParts, bucketAt, spanOf, type Bucket } from "../../src/battle-log/histogram";

describe("bars", () => {
  const bucket = (start: string, counts: Bucket["counts"]): Bucket => ({
    start, end: `${start}+`, counts, count: Object.values(counts).reduce((a, b) => a + b, 0),
  });

  it("are stacked, and a single error is visible", () => {
    const parts = barParts(bucket("a", { info: 9_999, error: 1 }), 10_000, 50);
    expect(parts.map((part) => part.severity)).toEqual(["info", "error"]);
    expect(parts[1]!.height).toBe(Math.min(2, parts[0]!.y));
    expect(parts.every((part) => part.y >= 0)).toBe(true);
  });

  it("give the time range from one to another, in either direction", () => {
    const all = [bucket("a", {}), bucket("b", {}), bucket("c", {})];
    expect(spanOf(all, 2, 1)).toEqual({ since: "b", until: "c+" });
    expect(spanOf([], 0, 0)).toBeNull();
    expect([bucketAt(-1, 3), bucketAt(0.5, 3), bucketAt(1, 3)]).toEqual([0, 1, 2]);
  });
});

import { describe, expect, it } from "vitest";
import type { RealmEvent } from "../../../src/stream/event";
import { cluster, nonFiniteText } from "../../../src/shared/graph/graph-marks";
import { makeEvent } from "../../events";

describe("cluster", () => {
  const at = (left: number, fields: Partial<RealmEvent>) => ({
    left,
    marker: { event: makeEvent(left, fields), step: null, timeMs: left },
  });
  it("combines overlapping markers into the most severe", () => {
    const hits = cluster([at(50, {}), at(10, { severity: "success", kind: "x" }), at(14, { severity: "error", kind: "y" })]);
    expect(hits.map((hit) => [hit.left, hit.marker.event.severity, hit.count])).toEqual([[10, "error", 2], [50, "info", 1]]);
  });
});

describe("nonFiniteText", () => {
  it("distinguishes NaN and infinities", () => {
    expect([Number.NaN, Infinity, -Infinity].map(nonFiniteText)).toEqual(["NaN", "∞", "−∞"]);
  });
});

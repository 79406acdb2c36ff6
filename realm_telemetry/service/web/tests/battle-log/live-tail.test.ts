import { describe, expect, it } from "vitest";
import { Arrivals } from "../../src/battle-log/live-tail";
import { makeEvent } from "../events";

describe("arrivals", () => {
  it("counts all that a coalesced event represents, and forgets what the rows have", () => {
    const arrivals = new Arrivals((one) => one.channel === "system");
    arrivals.take({ type: "event", event: makeEvent(3) });
    arrivals.take({ type: "event", event: makeEvent(4, { coalesced: 9 }) });
    arrivals.take({ type: "event", event: makeEvent(5, { channel: "jobs" }) });
    expect(arrivals.count).toBe(11);
    expect(arrivals.drain().map((one) => one.cursor)).toEqual([3]);
    expect(arrivals.drain()).toEqual([]);
    // Shown, but in no count of the service's yet.
    expect(arrivals.count).toBe(11);
    arrivals.caughtUp(3);
    expect(arrivals.count).toBe(10);
    arrivals.caughtUp(4);
    expect(arrivals.count).toBe(0);
    expect(arrivals.take({ type: "event", event: makeEvent(4) })).toBe(false);
  });

  it("stays bounded", () => {
    const arrivals = new Arrivals(() => true);
    for (let n = 1; n <= 5_000; n++) arrivals.take({ type: "event", event: makeEvent(n) });
    expect(arrivals.count).toBe(5_000);
    expect(arrivals.drain()).toHaveLength(1_000);
  });
});

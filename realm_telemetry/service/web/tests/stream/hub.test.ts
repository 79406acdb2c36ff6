import { describe, expect, it } from "vitest";
import { isRoutine } from "../../src/stream/event";
import { Recent } from "../../src/stream/hub";
import { makeEvent } from "../events";

function started() {
  const recent = new Recent(isRoutine);
  const snapshot = { events: [makeEvent(2), makeEvent(1)], routine: [], cursor: 2, log_id: "a" };
  recent.take({ type: "snapshot", snapshot });
  return recent;
}

describe("Recent", () => {
  it("has nothing before the first snapshot", () => {
    const recent = new Recent(isRoutine);
    recent.take({ type: "event", event: makeEvent(1) });
    expect(recent.current()).toBeNull();
  });

  it("keeps the last fifty, newest first, and the cursor", () => {
    const recent = started();
    for (let cursor = 3; cursor <= 80; cursor++) recent.take({ type: "event", event: makeEvent(cursor) });
    const current = recent.current()!;
    expect(current.cursor).toBe(80);
    expect(current.events.map((event) => event.cursor)).toEqual(
      Array.from({ length: 50 }, (_, index) => 80 - index),
    );
  });

  it("keeps the latest routine event of each kind and producer", () => {
    const recent = started();
    for (let cursor = 3; cursor <= 9; cursor++) {
      const producer = cursor % 2 ? "00000000000000aa" : "00000000000000bb";
      recent.take({ type: "event", event: makeEvent(cursor, { kind: "training_step", producer }) });
    }
    const current = recent.current()!;
    expect(current.routine.map((event) => event.cursor)).toEqual([9, 8]);
    expect(current.events).toHaveLength(2);
  });

  it("does not count late events among the last ones", () => {
    const recent = started();
    recent.take({ type: "event", event: makeEvent(3, { late: true }) });
    expect(recent.current()!.events.map((event) => event.cursor)).toEqual([2, 1]);
  });
});

import { describe, expect, it } from "vitest";
import { buildItems, groupCount, groupSources, groupText } from "../../src/battle-log/row-groups";
import type { RealmEvent } from "../../src/stream/event";
import { makeEvent } from "../events";

const step = (cursor: number, loss: number, producer = "aa") =>
  makeEvent(cursor, { kind: "training_step", details: { loss }, producer });

describe("grouping", () => {
  const options = { opened: new Set<number>(), dayOf: () => "2025-11-29", complete: true };
  const keys = (items: ReturnType<typeof buildItems>) => items.map((item) => item.type);

  it("collapses a sequence to one line for each kind and producer", () => {
    const beat = makeEvent(6, { kind: "worker_heartbeat", producer: "bb" });
    const events = [makeEvent(9), step(8, 0.23), beat, step(5, 0.3), step(4, 0.41), makeEvent(1)];
    const items = buildItems(events, options);
    expect(keys(items)).toEqual(["day", "event", "group", "event", "event"]);
    const group = items[2]!;
    if (group.type !== "group") throw new Error();
    expect(group.group.members.map((one) => one.cursor)).toEqual([8, 5, 4]);
    expect(groupText(group.group)).toBe("loss 0.4100 → 0.2300");
    expect(groupCount(group.group)).toBe("× 3");
  });

  it("collapses the heartbeats of all processes to one line", () => {
    const beat = (cursor: number, producer: string) => makeEvent(cursor, { kind: "worker_heartbeat", producer });
    const [, group, ...rest] = buildItems([beat(4, "aa"), beat(3, "bb"), beat(2, "cc"), beat(1, "aa")], options);
    if (group?.type !== "group") throw new Error();
    expect([groupCount(group.group), groupSources(group.group), rest.length]).toEqual(["× 4", "of 3 processes", 0]);
  });

  it("collapses the same event of several ranks, and says which rank has none", () => {
    const of = (rank: number, kind: string, cursor: number, message = kind) => makeEvent(cursor, { kind, rank, run_id: "r", message, producer: `p${rank}` });
    const events = [
      ...[0, 1, 3].map((rank) => of(rank, "checkpoint_saved", 20 - rank, `Rank ${rank} saved`)),
      ...[0, 1, 2, 3].map((rank) => of(rank, "run_started", 10 - rank)),
    ];
    const groups = buildItems(events, options).flatMap((item) => (item.type === "group" ? [item.group] : []));
    expect(groups.map((group) => [groupCount(group), groupSources(group)])).toEqual([["× 3", "rank 2 missing"], ["× 4", "of 4 ranks"]]);
    expect(groupText(groups[0]!)).toBe("Rank 0 saved");
  });

  it("leaves different messages of ranks apart", () => {
    const events = [0, 1].map((rank) => makeEvent(2 - rank, { kind: "run_ended", rank, run_id: "r", message: rank ? "OOM" : "exit code 1" }));
    expect(keys(buildItems(events, options))).toEqual(["day", "event", "event"]);
  });

  it("opens by any member, and keeps its key while newer ones arrive", () => {
    const before = buildItems([step(5, 1), step(4, 2)], options);
    const opened = new Set([4]);
    const after = buildItems([step(6, 1), step(5, 1), step(4, 2)], { ...options, opened });
    expect(after[1]!.key).toBe(before[1]!.key);
    expect(keys(after)).toEqual(["day", "group", "event", "event", "event"]);
  });

  it("keeps the key of the last group while its end is cut off", () => {
    const unfinished = { ...options, complete: false };
    const [, before] = buildItems([step(5, 1), step(4, 2), step(3, 2)], unfinished);
    const [, after] = buildItems([step(6, 1), step(5, 1), step(4, 2)], unfinished);
    expect(after!.key).toBe(before!.key);
  });

  it("shows that a group may continue below the loaded rows", () => {
    const [, group] = buildItems([step(5, 1), step(4, 2)], { ...options, complete: false });
    expect(group?.type === "group" && groupCount(group.group)).toBe("× 2+");
  });

  it("separates days", () => {
    const dayOf = (one: RealmEvent) => (one.cursor > 2 ? "B" : "A");
    const events = [step(4, 1), step(3, 1), step(2, 1), step(1, 1)];
    expect(keys(buildItems(events, { ...options, dayOf }))).toEqual(["day", "group", "day", "group"]);
  });
});

import { expect, it } from "vitest";
import { lanesOf } from "../../src/run/timeline";
import { makeEvent } from "../events";

const at = (second: number, kind: string, details: Record<string, unknown> = {}) =>
  makeEvent(second, { kind, details, time_unix_nano: String(second * 1e9) });

it("makes bars of what begins and ends, and marks of checkpoints", () => {
  const events = [
    at(50, "run_ended", { status: "killed" }),
    at(10, "run_started"),
    at(20, "checkpoint_saved"),
    at(40, "run_stalled", { silent_s: 15 }),
    at(60, "run_started"),
    at(70, "evaluation_started"),
  ];
  const lanes = lanesOf(events, 100_000).map(({ label, bars }) => [label, bars.map((bar) => [bar.fromMs / 1e3, bar.untilMs / 1e3, bar.severity])]);
  expect(lanes).toEqual([
    ["Training", [[10, 50, "error"], [60, 100, "info"]]],
    ["Stalls", [[25, 50, "info"]]],
    ["Evaluations", [[70, 100, "info"]]],
    ["Checkpoints", [[20, 20, "info"]]],
  ]);
});

it("has no lanes without events", () => expect(lanesOf([], 1)).toEqual([]));

import { expect, it } from "vitest";
import { differencesOf } from "../../src/compare/differences";

it("finds the settings in which runs differ, entry by entry", () => {
  const found = differencesOf([
    { lr: 0.1, seed: 9007199254740993n, opt: { name: "adam", beta: 0.9 } },
    { lr: 0.1, seed: 9007199254740992n, opt: { name: "sgd" }, note: null },
  ]);
  expect(found.same).toBe(1);
  expect(found.different).toEqual([
    { name: "note", values: [null, "null"] },
    { name: "opt.beta", values: ["0.9", null] },
    { name: "opt.name", values: ["adam", "sgd"] },
    { name: "seed", values: ["9007199254740993", "9007199254740992"] },
  ]);
});

import { expect, it } from "vitest";
import { differencesOf } from "../../src/shared/settings";

it("names the settings that differ, down to the entries of objects", () => {
  const { different, same } = differencesOf(
    {
      same: 2,
      different: [
        { name: "lr", values: [0.1, 0.2], has: [true, true] },
        { name: "model", values: [{ width: 3, depth: 1 }, { width: 4, depth: 1 }], has: [true, true] },
        { name: "seed", values: [null, 9007199254740993n], has: [false, true] },
        { name: "tag", values: [null, null], has: [true, false] },
      ],
    },
    2,
  );
  expect(different).toEqual([
    { name: "lr", values: ["0.1", "0.2"] },
    { name: "model.width", values: ["3", "4"] },
    { name: "seed", values: [null, "9007199254740993"] },
    { name: "tag", values: ["null", null] },
  ]);
  expect(same).toBe(3);
});

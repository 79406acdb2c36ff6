import { expect, test } from "vitest";
import { joinNames, splitNames } from "../../src/battle-log/filter-data";
test.each([
  ["a, b,,c", ["a", "b", "c"]],
  ['"a,b",c', ["a,b", "c"]],
  ['!"a,b", !c', ["!a,b", "!c"]],
  ['"a\\"b"', ['a"b']],
  ['"open, x', ['"open', "x"]],
  ["", []],
])("%s names %j", (text, names) => {
  expect(splitNames(text)).toEqual(names);
});

test("names with commas, quotes and spaces are read back", () => {
  const names = ["a", "a,b", "!a,b", '"x', " y ", "lr=0.1,wd=0"];
  expect(splitNames(joinNames(names))).toEqual(names);
  expect(joinNames(["a", "b,c"], ", ")).toBe('a, "b,c"');
});

import { describe, expect, it } from "vitest";
import { equalsNumber, exactText, parseExact, withNumbers } from "../../src/shared/exact-json";

const SEED = "9007199254740993";

describe("parseExact", () => {
  it.each([
    ["9007199254740991", 9_007_199_254_740_991],
    ["-9007199254740991", -9_007_199_254_740_991],
    ["9007199254740992", 9_007_199_254_740_992n],
    [SEED, 9_007_199_254_740_993n],
    [`-${SEED}`, -9_007_199_254_740_993n],
    ["18446744073709551615", 18_446_744_073_709_551_615n],
    ["0.12345678901234567", 0.12345678901234567],
    ["1234567890123456789.5", 1234567890123456789.5],
    ["12345678901234567e3", 12345678901234567e3],
    ["1.5e-16", 1.5e-16],
  ])("reads %s", (text, value) => expect(parseExact(text)).toEqual(value));

  it.each([`{"a":[${SEED},{"b":${SEED}}],"c":"${SEED}"}`, `{"${SEED}":"\\"${SEED}\\\\","n":${SEED}}`])(
    "leaves strings and keys of digits alone: %s",
    (text) => expect(exactText(parseExact(text), 0)).toBe(text),
  );

  it("refuses what is no JSON", () => expect(() => parseExact(`[${SEED}`)).toThrow(SyntaxError));
});

describe("exactText", () => {
  it("is JSON.stringify where all integers are small", () => {
    const value = { a: [1, "x", null, true, 0.5], b: {} };
    expect(exactText(value)).toBe(JSON.stringify(value, null, 2));
  });
});

describe("equalsNumber", () => {
  it.each([
    [BigInt(SEED), SEED, true],
    [BigInt(SEED), "9007199254740992", false],
    [2 ** 53, SEED, false],
    [0.5, "0.50", true],
    [3, "3.0", true],
    [3, "3", true],
    [3, "three", false],
    [Number.NaN, "3", false],
  ])("compares %s and %s", (found, text, equal) => expect(equalsNumber(found, text)).toBe(equal));
});

describe("withNumbers", () => {
  it("rounds large integers, at any depth, and nothing else", () => {
    const value = { seed: BigInt(SEED), list: [1, "x", { seed: BigInt(SEED) }], none: null };
    expect(withNumbers(value)).toEqual({ seed: 2 ** 53, list: [1, "x", { seed: 2 ** 53 }], none: null });
  });
});

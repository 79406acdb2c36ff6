import { describe, expect, it } from "vitest";
import { formatAge, formatCount, formatDuration, formatLargestUnit, formatNumber, formatTime, plural, shownText } from "../../src/shared/format";

describe("formatNumber", () => {
  it.each([
    [0, "0"],
    [0.234, "0.2340"],
    [1.2e-5, "1.20e-5"],
    [183_000, "183,000"],
    [2.5e9, "2.50e9"],
    [Number.NaN, "NaN"],
    [Number.POSITIVE_INFINITY, "Infinity"],
  ])("writes %d as %s", (value, text) => expect(formatNumber(value)).toBe(text));
});

describe("formatDuration", () => {
  it.each([
    [0.25, "250 ms"],
    [3.14, "3.1 s"],
    [59, "59 s"],
    [60, "1 min"],
    [3_725, "1 h 2 min"],
    [3_605, "1 h"],
    [90_000, "1 d 1 h"],
    [Number.NaN, "–"],
  ])("writes %d s as %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));
});

describe("formatAge", () => {
  it.each([
    [0, "just now"],
    [12.9, "12 s ago"],
    [200, "3 min ago"],
    [7_300, "2 h ago"],
  ])("writes %d s as %s", (seconds, text) => expect(formatAge(seconds)).toBe(text));
});

describe("formatLargestUnit", () => {
  it.each([
    [1, "1 s"],
    [3_725, "1 h"],
    [90_000, "1 d"],
  ])("writes %d s as %s", (seconds, text) => expect(formatLargestUnit(seconds)).toBe(text));
});

describe("the rest", () => {
  it("counts and times", () => {
    expect(formatCount(48_120)).toBe("48,120");
    expect(plural(1, "event")).toBe("1 event");
    expect(plural(2, "entry", "entries")).toBe("2 entries");
    const date = new Date("2025-11-29T10:00:00.123Z");
    expect(formatTime(date, { zone: "utc", date: true, millis: true })).toBe("2025-11-29 10:00:00.123");
  });
});

it("takes the backticks from around names, and leaves single ones", () => {
  expect(shownText("Run `realm doctor`, or `realm up`.")).toBe("Run realm doctor, or realm up.");
  expect(shownText("a ` b")).toBe("a ` b");
});

it("shows what would turn the direction of a text", () => {
  expect(shownText("model\u202etxt.exe")).toBe("model⟨U+202E⟩txt.exe");
  expect(shownText("تدريب")).toBe("تدريب");
});

import { describe, expect, it } from "vitest";
import { containsPhrases, highlight, phrasesOf } from "../../src/battle-log/text-search";

const marks = (text: string, query: string) =>
  highlight(text, phrasesOf(query))
    .map((part) => (part.hit ? `[${part.text}]` : part.text))
    .join("");

describe("words", () => {
  it("are cut as the service cuts them", () => {
    expect(phrasesOf('out "Of Memory" gpu_0 --')).toEqual([["out"], ["of", "memory"], ["gpu", "0"]]);
  });

  it("must all occur, a phrase side by side", () => {
    expect(containsPhrases("CUDA out of memory", phrasesOf('cuda "out of"'))).toBe(true);
    expect(containsPhrases("CUDA out of memory", phrasesOf('"of out"'))).toBe(false);
    expect(containsPhrases("memory", phrasesOf("mem"))).toBe(false);
    expect(containsPhrases("anything", [])).toBe(true);
  });

  it("are marked whole, without regard to case and accents", () => {
    expect(marks("Zürich fell, zurich rose; Zurichs not", "zurich")).toBe("[Zürich] fell, [zurich] rose; Zurichs not");
    expect(marks("out of memory, out", '"out of memory"')).toBe("[out of memory], out");
    expect(marks("a b c", '"a b" "b c"')).toBe("[a b c]");
  });

  it("leave text as it is", () => {
    expect(marks("<b>x</b>", "b")).toBe("<[b]>x</[b]>");
    expect(marks("", "b")).toBe("");
    expect(marks("plain", "")).toBe("plain");
  });
});

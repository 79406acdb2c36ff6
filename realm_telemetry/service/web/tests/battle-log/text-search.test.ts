import { describe, expect, it } from "vitest";
import { containsPhrases, highlight, hitSnippet, phrasesOf } from "../../src/battle-log/text-search";
import { makeEvent } from "../events";

const marks = (text: string, query: string) =>
  highlight(text, phrasesOf(query))
    .map((part) => (part.hit ? `[${part.text}]` : part.text))
    .join("");

describe("words", () => {
  it("are split as by the service", () => {
    expect(phrasesOf('out "Of Memory" gpu_0 --')).toEqual([["out"], ["of", "memory"], ["gpu", "0"]]);
  });

  it("must all occur, those of a phrase in sequence", () => {
    expect(containsPhrases("CUDA out of memory", phrasesOf('cuda "out of"'))).toBe(true);
    expect(containsPhrases("CUDA out of memory", phrasesOf('"of out"'))).toBe(false);
    expect(containsPhrases("memory", phrasesOf("mem"))).toBe(false);
    expect(containsPhrases("anything", [])).toBe(true);
  });

  it("are marked as a whole, ignoring case and accents", () => {
    expect(marks("Zürich fell, zurich rose; Zurichs not", "zurich")).toBe("[Zürich] fell, [zurich] rose; Zurichs not");
    expect(marks("out of memory, out", '"out of memory"')).toBe("[out of memory], out");
    expect(marks("a b c", '"a b" "b c"')).toBe("[a b c]");
  });

  it("do not change the text", () => {
    expect(marks("<b>x</b>", "b")).toBe("<[b]>x</[b]>");
    expect(marks("", "b")).toBe("");
    expect(marks("plain", "")).toBe("plain");
  });
});

const EVENT = makeEvent(1, {
  run_id: "r7",
  hero_id: "dio",
  message: "Job failed",
  details: { job: { id: "abc", tags: ["cold", "warm up"] }, trace: `${"x ".repeat(200)}needle ${"y ".repeat(200)}` },
});
const found = (query: string) => hitSnippet(EVENT, phrasesOf(query));

describe("what a row shows of a hit elsewhere in the event", () => {
  it("is nothing if the row has all words", () => {
    expect(found("job failed")).toBeNull();
    expect(found("")).toBeNull();
  });

  it("is the value with its path", () => {
    expect(found("abc")).toBe("job.id: abc");
    expect(found('failed "warm up"')).toBe("job.tags[1]: warm up");
    expect(found('"id abc"')).toBe("job.id: abc");
  });

  it("is the name of a hero that the row does not show", () => {
    expect(found("dio")).toBe("hero: dio");
    expect(found("r7")).toBeNull();
  });

  it("is cut around the hit", () => {
    const text = found("needle")!;
    expect(text).toMatch(/^trace: …x .*needle y .*…$/);
    expect(text.length).toBeLessThan(110);
  });
});

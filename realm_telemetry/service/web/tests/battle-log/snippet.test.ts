import { describe, expect, it } from "vitest";
import { hitSnippet, phrasesOf } from "../../src/battle-log/text-search";
import { makeEvent } from "../events";

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

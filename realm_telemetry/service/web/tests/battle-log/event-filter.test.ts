import { describe, expect, it } from "vitest";
import { EMPTY_QUERY, readAddress } from "../../src/battle-log/address";
import { containsPhrases, filteredBy, highlight, hitSnippet, matcher, pathText, phrasesOf } from "../../src/battle-log/event-filter";
import type { RealmEvent } from "../../src/stream/event";
import { makeEvent } from "../events";

const OPEN = { since: null, until: null };
const EVENT = {
  id: "e1", cursor: 1, time_unix_nano: "1764410400000000000", kind: "job_failed", channel: "jobs", severity: "error",
  message: "Job abc failed: CUDA out of memory", details: { job: { id: "abc" }, tags: ["cold", 2], gpus: [{ name: "A100" }], deep: [[1]], "a.b": 1, attempt: 2, ok: false, none: null },
  source: null, hero_id: "dio", campaign_id: null, run_id: "r7", producer: "aa", number: 1,
} as unknown as RealmEvent;

describe("matching live events as the service would", () => {
  it.each([
    ["?channel=jobs,eval&severity=error&hero=dio&run=r7", true],
    ["?channel=eval", false],
    ["?campaign=c1", false],
    ["?source=none", true],
    ["?source=!none", false],
    ["?source=trainer", false],
    ["?trace=!4bf92f3577b34da6a3ce929d0e0e4736", true],
    ["?has=job.id:abc", true],
    ["?has=a.b:1.0", true],
    ["?has=attempt:2&has=ok:false&has=none:null", true],
    ["?has=job.id:abd", false],
    ["?has=missing:null", false],
    ["?kind=!job_failed", false],
    ["?kind=!note&hero=!ada&campaign=!c1", true],
    ["?channel=jobs,!jobs", false],
    ["?has=tags:cold&has=tags:2.0", true],
    ["?has=tags:warm", false],
    ["?has=gpus.name:A100", true],
    ["?has=gpus.0.name:A100", false],
    ["?has=deep:1", false],
    ["?not=tags:cold", false],
    ["?not=attempt:2", false],
    ["?not=attempt:3", true],
    ['?q="out of memory"', true],
    ["?q=dio", true],
    ["?q=absent", false],
  ])("%s: %s", (search, wanted) => {
    expect(matcher(readAddress(search).query, OPEN)(EVENT)).toBe(wanted);
  });

  it("includes the start of a range, not its end", () => {
    const span = { since: "2025-11-29T10:00:00Z", until: "2025-11-29T10:00:01Z" };
    expect(matcher(EMPTY_QUERY, span)(EVENT)).toBe(true);
    expect(matcher(EMPTY_QUERY, { since: null, until: "2025-11-29T10:00:00Z" })(EVENT)).toBe(false);
  });

  it("excludes routine kinds from a search", () => {
    const step = { ...EVENT, kind: "training_step" };
    expect(matcher({ ...EMPTY_QUERY, q: "cuda" }, OPEN)(step)).toBe(false);
  });
});

describe("filters from a value", () => {
  it("keep or exclude a detail, never both", () => {
    const kept = filteredBy(EMPTY_QUERY, ["details", "job", "id"], "abc", true)!;
    expect(kept.has).toEqual(["job.id:abc"]);
    const dropped = filteredBy(kept, ["details", "job", "id"], "abc", false)!;
    expect([dropped.has, dropped.not]).toEqual([[], ["job.id:abc"]]);
  });

  it("use the event's own fields where there is a list", () => {
    expect(filteredBy(EMPTY_QUERY, ["hero_id"], "dio", true)?.lists.hero).toEqual(["dio"]);
    expect(filteredBy(EMPTY_QUERY, ["severity"], "info", false)?.lists.severity).toEqual(["!info"]);
    expect(filteredBy(EMPTY_QUERY, ["hero_id"], "dio", false)?.lists.hero).toEqual(["!dio"]);
    expect(filteredBy(EMPTY_QUERY, ["source"], "x", true)?.lists.source).toEqual(["x"]);
    expect(filteredBy(EMPTY_QUERY, ["span_id"], "x", true)).toBeNull();
  });

  it("exclude one of several, and a second one", () => {
    const kinds = (search: string, value: string) =>
      filteredBy(readAddress(search).query, ["kind"], value, false)?.lists.kind;
    expect(kinds("?kind=note,job_failed", "note")).toEqual(["job_failed"]);
    expect(kinds("?kind=note", "note")).toEqual(["!note"]);
    expect(kinds("?kind=!job_failed", "note")).toEqual(["!job_failed", "!note"]);
  });

  it("look for a message by its words", () => {
    expect(filteredBy(EMPTY_QUERY, ["message"], "Out of memory", true)?.q).toBe('"Out of memory"');
    expect(filteredBy(EMPTY_QUERY, ["message"], "Out of memory", false)).toBeNull();
    expect(filteredBy(EMPTY_QUERY, ["message"], '"', true)).toBeNull();
  });

  it("find an entry of a list at any position", () => {
    expect(filteredBy(EMPTY_QUERY, ["details", "tags", 0], "cold", true)?.has).toEqual(["tags:cold"]);
    expect(filteredBy(EMPTY_QUERY, ["details", "gpus", 0, "name"], "A100", false)?.not).toEqual(["gpus.name:A100"]);
  });

  it("do not exist where the API has none", () => {
    expect(filteredBy(EMPTY_QUERY, ["details", "list", 0, 0], 1, true)).toBeNull();
    expect(filteredBy(EMPTY_QUERY, ["run_id"], "!r", true)).toBeNull();
    expect(filteredBy(EMPTY_QUERY, ["run_id"], "a,b", true)).toBeNull();
    expect(filteredBy(EMPTY_QUERY, ["details", ""], 1, true)).toBeNull();
    expect(filteredBy(EMPTY_QUERY, ["details", "o"], {}, true)).toBeNull();
  });

  it("write readable paths", () => {
    expect(pathText(["details", "gpus", 0, "a b"])).toBe('details.gpus[0]["a b"]');
  });
});

describe("details of any name", () => {
  it.each(["train/loss", "loss[0]", "a:b", "a,b", 'say "x"', "back\\slash", " padded ", "größe", "a..b", "line\nbreak"])(
    "%j is filtered by as the service does",
    (name) => {
      const query = filteredBy(EMPTY_QUERY, ["details", name], "1:2", true)!;
      const wanted = matcher(query, OPEN);
      const found = [{ [name]: "1:2" }, { [name]: "3" }, {}].map((details) => wanted({ ...EVENT, details }));
      expect(found).toEqual([true, false, false]);
    },
  );
});

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

const SEARCHED = makeEvent(1, {
  run_id: "r7",
  hero_id: "dio",
  message: "Job failed",
  details: { job: { id: "abc", tags: ["cold", "warm up"] }, trace: `${"x ".repeat(200)}needle ${"y ".repeat(200)}` },
});
const found = (query: string) => hitSnippet(SEARCHED, phrasesOf(query));

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

import { describe, expect, it } from "vitest";
import { folded, partsOf } from "../../src/shared/traceback-card";
const OWN = `  File "/home/ada/train.py", line 8, in main\n    fit(model)\n    ~~~^^^^^^^`;
const LIBRARY = `  File "/v/lib/python3.12/site-packages/torch/nn.py", line 3, in forward\n    return f(x)`;
const FROZEN = `  File "<frozen runpy>", line 88, in _run_code`;
const HEAD = "Traceback (most recent call last):";

const lines = (text: string) => partsOf(text).flatMap((part) => part.lines);
const kinds = (text: string) => folded(partsOf(text)).map((part) => part.type);

describe("partsOf", () => {
  it("keeps every line, and the marks below the code", () => {
    const text = [HEAD, FROZEN, OWN, LIBRARY, "ValueError: two\nlines of it"].join("\n");
    expect(lines(text).join("\n")).toBe(text);
    const own = partsOf(text).find((part) => part.type === "frame" && part.own);
    expect(own).toMatchObject({ file: "/home/ada/train.py", line: 8, name: "main" });
    expect(own?.lines).toHaveLength(3);
  });

  it("keeps what connects two exceptions", () => {
    const cause = "\nThe above exception was the direct cause of the following exception:\n";
    const text = [HEAD, OWN, "KeyError: 'x'", cause, HEAD, OWN, "RuntimeError: no"].join("\n");
    expect(lines(text).join("\n")).toBe(text);
    expect(partsOf(text).filter((part) => part.type === "frame")).toHaveLength(2);
  });

  it("reads the frames of an exception group", () => {
    const text = `  + Exception Group Traceback (most recent call last):\n  |   File "/home/ada/a.py", line 1, in f\n  |     g()\n  | ExceptionGroup: two`;
    expect(lines(text).join("\n")).toBe(text);
    expect(partsOf(text)[1]).toMatchObject({ type: "frame", file: "/home/ada/a.py", name: "f" });
  });
});

describe("folded", () => {
  it("folds neighbouring frames of libraries and of Python", () => {
    expect(kinds([HEAD, FROZEN, OWN, LIBRARY, LIBRARY, OWN, "E"].join("\n"))).toEqual([
      "text", "fold", "frame", "fold", "frame", "text",
    ]);
  });

  it("folds nothing where the program has no frame", () => {
    expect(kinds([HEAD, LIBRARY, "E"].join("\n"))).toEqual(["text", "frame", "text"]);
  });

  it("takes a project inside a home for its own, whatever its folder is called", () => {
    const frame = (file: string) => partsOf(`  File "${file}", line 1, in f`)[0];
    expect(frame("/home/ada/lib/train.py")).toMatchObject({ own: true });
    expect(frame("/usr/lib/python3.12/threading.py")).toMatchObject({ own: false });
  });
});

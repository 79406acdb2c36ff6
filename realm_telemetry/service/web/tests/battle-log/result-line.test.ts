import { describe, expect, it } from "vitest";
import { readAddress } from "../../src/battle-log/address";
import { asCurl, asRealmQuery, frozenAddress, shellWord } from "../../src/battle-log/result-line";

const OPEN = { since: null, until: null };

describe("commands", () => {
  const address = readAddress("?channel=jobs&q=it's+%22out+of%22&has=id:-1&not=a:b&since=7d");

  it("are quoted for the shell", () => {
    expect(shellWord("plain-1.2")).toBe("plain-1.2");
    expect(shellWord("it's $x")).toBe(`'it'\\''s $x'`);
  });

  it("keep relative times", () => {
    expect(asRealmQuery(address, OPEN)).toBe(
      `realm query --channel jobs --since 7d --q 'it'\\''s "out of"' --has id:-1 --not a:b`,
    );
    expect(asCurl(readAddress("?severity=error"), OPEN, "http://h/api/battle_log")).toBe(
      "curl 'http://h/api/battle_log?severity=error&since=24h&limit=1000'",
    );
  });

  it("link to the same rows", () => {
    const span = { since: "2025-11-28T10:00:00.000Z", until: null };
    expect(frozenAddress(readAddress("?live=1"), span, 7)).toBe("?since=2025-11-28T10:00:00.000Z&as_of=7");
    expect(frozenAddress(readAddress("?range=all"), OPEN, 7)).toBe("?range=all&as_of=7");
  });
});

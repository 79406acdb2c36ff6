/**
 * JSON with exact integers: one beyond 2^53 is a BigInt, and not the nearest number.
 *
 * Seeds, ids and times in nanoseconds are that large. JSON.parse would round them without a word.
 */

/** Strings and numbers, whole: digits inside a string or a fraction are left alone. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Not the digits of a fraction: every measured value has that many. */
const MAYBE_LARGE = /(?<![\d.])\d{16}/;
const INTEGER = /^-?\d+$/;
/** Marks an integer while the text is parsed. Random, so that no event can hold it. */
const MARK = `int ${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)} `;

export function parseExact(text: string): unknown {
  if (!MAYBE_LARGE.test(text)) return JSON.parse(text);
  const marked = text.replace(TOKENS, (token) =>
    INTEGER.test(token) && !Number.isSafeInteger(Number(token)) ? `"${MARK}${token}"` : token,
  );
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value,
  );
}

/** As JSON.stringify with indents, which throws for a BigInt. */
export function exactText(value: unknown, indent = 2): string {
  const text = JSON.stringify(
    value,
    (_key, one: unknown) => (typeof one === "bigint" ? `${MARK}${one}` : one),
    indent,
  );
  return text.replace(new RegExp(`"${MARK}(-?\\d+)"`, "g"), "$1");
}

/** A value with numbers only, for code that knows no BigInt; a large integer is the nearest number. */
export function withNumbers(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(withNumbers);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withNumbers(one)]));
}

/** Whether a number equals the one that a text spells, exactly. */
export function equalsNumber(found: number | bigint, text: string): boolean {
  if (!/^-?[\d.]/.test(text)) return false;
  if (INTEGER.test(text) && (typeof found === "bigint" || Number.isInteger(found))) {
    return BigInt(text) === BigInt(found);
  }
  return Number(text) === Number(found);
}

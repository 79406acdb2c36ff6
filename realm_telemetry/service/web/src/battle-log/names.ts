/** A quoted name, which may hold commas, or anything up to the next comma; `!` excludes. */
const LISTED = /\s*(!?)\s*("(?:[^"\\]|\\.)*"(?=\s*(?:,|$))|[^,]*)\s*(?:,|$)/gsy;

/** The names in a list with commas; one with a comma is written as JSON text: `"a,b"`. */
export function splitNames(text: string): string[] {
  const found: string[] = [];
  for (const [, mark = "", part = ""] of text.matchAll(LISTED)) {
    const name = unquoted(part.trim());
    if (name) found.push(mark + name);
  }
  return found;
}

/** Names as `splitNames` reads them; those that begin with `!` are excluded. */
export function joinNames(names: readonly string[], between = ","): string {
  return names.map((name) => (name.startsWith("!") ? `!${quoted(name.slice(1))}` : quoted(name))).join(between);
}

function quoted(name: string): string {
  return name.includes(",") || name.startsWith('"') || name !== name.trim() ? JSON.stringify(name) : name;
}

function unquoted(name: string): string {
  if (!/^".*"$/s.test(name)) return name;
  try {
    const read: unknown = JSON.parse(name);
    return typeof read === "string" ? read : name;
  } catch {
    return name;
  }
}

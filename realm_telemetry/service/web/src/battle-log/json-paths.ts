import { type Query, type ListName, leftOut, wantedOf, withList } from "./address";
import { wordsOf } from "./text-search";

export type Path = readonly (string | number)[];

/** Fields of an event that have a filter of their own. */
const OWN_FILTER: Readonly<Record<string, ListName>> = {
  channel: "channel",
  severity: "severity",
  kind: "kind",
  hero_id: "hero",
  campaign_id: "campaign",
  run_id: "run",
  producer: "producer",
};

/** A path as people write it: `details.worker.gpus[0].name`. */
export function pathText(path: Path): string {
  return path
    .map((key, at) => {
      if (typeof key === "number") return `[${key}]`;
      if (!/^[\w-]+$/.test(key)) return `[${JSON.stringify(key)}]`;
      return at ? `.${key}` : key;
    })
    .join("");
}

/** The query with only, or without, events that have this value; null where the API has no filter. */
export function filteredBy(query: Query, path: Path, value: unknown, keep: boolean): Query | null {
  if (value !== null && typeof value === "object") return null;
  if (path.length === 1 && path[0] === "message") return keep ? byWords(query, String(value)) : null;
  if (path[0] !== "details") return byField(query, path, value, keep);
  // Of a list any entry will do, of one list on the way.
  if (path.filter((key) => typeof key === "number").length > 1) return null;
  const keys = path.slice(1).filter((key): key is string => typeof key === "string");
  const plain = keys.every((key) => /^[^"\\\p{Cc}:]+$/u.test(key));
  const name = keys.join(".");
  if (!keys.length || !plain || name.length > 256 || String(value).length > 1_000) return null;
  const condition = `${name}:${value}`;
  const others = (list: readonly string[]) => list.filter((one) => one !== condition);
  return keep
    ? { ...query, has: [...others(query.has), condition], not: others(query.not) }
    : { ...query, not: [...others(query.not), condition], has: others(query.has) };
}

/** A message has no filter of its own: its words side by side find it. */
function byWords(query: Query, message: string): Query | null {
  const plain = message.length <= 200 && !message.includes('"') && wordsOf(message).length > 0;
  return plain ? { ...query, q: `"${message.trim()}"` } : null;
}

function byField(query: Query, path: Path, value: unknown, keep: boolean): Query | null {
  const name = path.length === 1 ? OWN_FILTER[String(path[0])] : undefined;
  // A comma parts names, and `!` before one leaves it out.
  if (!name || typeof value !== "string" || !value || /^[!\s]|,|\s$/.test(value)) return null;
  if (keep) return withList(query, name, [value]);
  const others = query.lists[name].filter((one) => one !== value);
  const named = others.length < query.lists[name].length && wantedOf(others).wanted.length > 0;
  return withList(query, name, named ? others : [...others, leftOut(value)]);
}

import { type Query, type ListName, LISTS, withList } from "./place";

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

/** Lists that are short enough to exclude one by naming the others. */
const CLOSED: Partial<Record<ListName, readonly string[]>> = {
  channel: ["training", "checkpoint", "eval", "jobs", "data", "guild", "vault", "system", "debug"],
  severity: ["error", "warning", "success", "info"],
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
  if (path[0] !== "details") return byField(query, path, value, keep);
  const keys = path.slice(1);
  const plain = keys.every((key) => typeof key === "string" && /^[^"\\\p{Cc}:]+$/u.test(key));
  const name = keys.join(".");
  if (!keys.length || !plain || name.length > 256 || String(value).length > 1_000) return null;
  const condition = `${name}:${value}`;
  const others = (list: readonly string[]) => list.filter((one) => one !== condition);
  return keep
    ? { ...query, has: [...others(query.has), condition], not: others(query.not) }
    : { ...query, not: [...others(query.not), condition], has: others(query.has) };
}

function byField(query: Query, path: Path, value: unknown, keep: boolean): Query | null {
  const name = path.length === 1 ? OWN_FILTER[String(path[0])] : undefined;
  if (!name || !LISTS.includes(name) || typeof value !== "string" || value.includes(",")) return null;
  if (keep) return withList(query, name, [value]);
  const chosen = query.lists[name].length ? query.lists[name] : CLOSED[name];
  const others = (chosen ?? []).filter((one) => one !== value);
  return others.length ? withList(query, name, others) : null;
}

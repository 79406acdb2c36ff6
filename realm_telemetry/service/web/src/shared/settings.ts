import { exactText } from "./exact-json";

/** The settings that are not the same in all runs; `has` tells a missing one from null. */
export interface Settings {
  different: { name: string; values: unknown[]; has: boolean[] }[];
  same: number;
}

/** A setting and its value in each run, as text; null where a run has no such setting. */
export interface Difference {
  name: string;
  values: (string | null)[];
}

/** The settings in which so many runs differ, by name; and how many are the same in all. Objects are compared entry by entry. */
export function differencesOf(config: Settings, runs: number): { different: Difference[]; same: number } {
  const flat = Array.from({ length: runs }, (_, run) => {
    const own = config.different.filter(({ has }) => has[run]).map(({ name, values }) => [name, values[run]]);
    return flattened(Object.fromEntries(own) as Record<string, unknown>);
  });
  const names = [...new Set(flat.flatMap((one) => [...one.keys()]))].sort();
  const rows = names.map((name) => ({ name, values: flat.map((one) => one.get(name) ?? null) }));
  const different = rows.filter(({ values }) => new Set(values).size > 1);
  return { different, same: config.same + rows.length - different.length };
}

function flattened(config: Record<string, unknown>, before = "", into = new Map<string, string>()): Map<string, string> {
  for (const [key, value] of Object.entries(config)) {
    const isTree = typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
    if (isTree) flattened(value as Record<string, unknown>, `${before}${key}.`, into);
    else into.set(before + key, typeof value === "string" ? value : exactText(value));
  }
  return into;
}

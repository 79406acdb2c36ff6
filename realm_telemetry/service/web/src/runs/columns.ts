import type { RunSummary } from "../shared/run";
import { COLUMNS, finite, type Column, type ColumnLook } from "./run-order";

/** What the list shows in a row beside status and name, from left to right. */
export const TABLE_COLUMNS: readonly Column[] = [
  "status", "name", "tags", "started", "duration", "step", "loss", "best", "checkpoint", "ranks", "host",
];
const ALWAYS: ReadonlySet<Column> = new Set(["status", "name"]);
/** The service answers more, but a table with more is read by nobody. */
export const MOST_METRICS = 8;

const METRIC = "metric:";
const KEY = "realm-run-columns";

/** What a person has chosen to see in the list of runs. */
export interface Columns {
  hidden: ReadonlySet<string>;
  /** Names of numbers, in the order of their columns. */
  metrics: readonly string[];
}

export const USUAL_COLUMNS: Columns = { hidden: new Set(), metrics: [] };

/** The columns that can be hidden. */
export const HIDEABLE = TABLE_COLUMNS.filter((column) => !ALWAYS.has(column));

/** The name of the column of a number; no other column begins like this. */
export function metricColumn(name: string): string {
  return METRIC + name;
}

/** The number that a column shows; null for one of the other columns. */
export function metricOf(column: string): string | null {
  return column.startsWith(METRIC) ? column.slice(METRIC.length) : null;
}

/** What a column is called and sorts by; null for a name that is none. */
export function lookOfColumn(column: string): ColumnLook | null {
  const metric = metricOf(column);
  if (metric === null) return Object.hasOwn(COLUMNS, column) ? COLUMNS[column as Column] : null;
  return { label: metric, value: (run) => finite(run.metrics?.[metric]), descending: false };
}

/** The columns of the table; tags only where a run has some. */
export function shownColumns(columns: Columns, runs: readonly RunSummary[]): string[] {
  const usual = TABLE_COLUMNS.filter((column) => !columns.hidden.has(column) && (column !== "tags" || runs.some((run) => run.tags?.length)));
  // What was asked for is in sight, however narrow the screen is.
  const first = usual.filter((column) => ALWAYS.has(column) || column === "tags");
  return [...first, ...columns.metrics.map(metricColumn), ...usual.slice(first.length)];
}

/** The choice of an address, else the one that was made here last. */
export function readColumns(params: URLSearchParams): Columns {
  const isGiven = params.has("metric") || params.has("hide");
  return isGiven ? checked(params.getAll("metric"), (params.get("hide") ?? "").split(",")) : remembered();
}

/** Put a choice into an address. A name may have any characters, so each is a parameter of its own. */
export function writeColumns(columns: Columns, params: URLSearchParams): void {
  columns.metrics.forEach((name) => params.append("metric", name));
  if (columns.hidden.size) params.set("hide", HIDEABLE.filter((column) => columns.hidden.has(column)).join(","));
}

export function remember({ hidden, metrics }: Columns): void {
  localStorage.setItem(KEY, JSON.stringify({ hidden: [...hidden], metrics }));
}

function remembered(): Columns {
  try {
    const { hidden, metrics } = JSON.parse(localStorage.getItem(KEY) ?? "{}") as { hidden?: unknown; metrics?: unknown };
    return checked(Array.isArray(metrics) ? metrics : [], Array.isArray(hidden) ? hidden : []);
  } catch {
    return USUAL_COLUMNS;
  }
}

/** Whoever wrote an address or what is remembered: no more than there can be. */
function checked(metrics: readonly unknown[], hidden: readonly unknown[]): Columns {
  const names = metrics.filter((name): name is string => typeof name === "string" && name !== "" && name !== "*");
  return {
    metrics: [...new Set(names.map((name) => name.toWellFormed()))].slice(0, MOST_METRICS),
    hidden: new Set(HIDEABLE.filter((column) => hidden.includes(column))),
  };
}

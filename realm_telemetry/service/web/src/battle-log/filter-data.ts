import type { ReactiveController } from "lit";
import { getJson } from "../shared/api";
import { getLabels, type Labels, USUAL_LABELS } from "../shared/labels";
import { Asking } from "../shared/connection";
import type { ListName, LogPage } from "./address";
import { FIELDS } from "./fields";
import type { Results } from "./log-view";

const COUNTS_MS = 60_000;
const OFFERED = 50;
const LOOKED_AT = 1_000;

/** `api/battle_log/channels`. */
export interface ChannelCounts {
  channels: Record<string, { count: number; counts: Record<string, number>; description: string }>;
  oldest: string | null;
  retention_days: number;
}

/** Data of the filter controls: counts of the channels, labels, and values that the fields suggest. */
export class FilterData implements ReactiveController {
  counts: ChannelCounts | null = null;
  labels: Labels = USUAL_LABELS;
  private kinds: readonly string[] = [];
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly page: LogPage,
    private readonly results: Results,
  ) {
    page.addController(this);
  }

  hostConnected(): void {
    this.timer = setInterval(() => void this.loadCounts(), COUNTS_MS);
  }

  hostDisconnected(): void {
    clearInterval(this.timer);
  }

  /** The rows' own request shows what is wrong with the service. */
  async load(): Promise<void> {
    await Promise.all([this.loadCounts(), new Asking().until(() => this.loadOnce())]);
  }

  private async loadOnce(): Promise<void> {
    const params = { by: "kind", since: "30d" };
    const [rows, labels] = await Promise.all([getJson<{ kind: string }[]>("api/battle_log/summary", params), getLabels()]);
    this.kinds = rows.map((row) => row.kind).sort();
    this.labels = labels;
    this.page.requestUpdate();
  }

  private async loadCounts(): Promise<void> {
    if (document.hidden) return;
    const ask = getJson<ChannelCounts>("api/battle_log/channels", { since: "24h" });
    this.counts = await ask.catch(() => this.counts);
    this.page.requestUpdate();
  }

  /** Values to suggest, by list: those of the newest rows. */
  known(): Partial<Record<ListName, readonly string[]>> {
    const recent = this.results.shown.rows.all.slice(0, LOOKED_AT);
    const values = ({ of }: (typeof FIELDS)[number]) =>
      [...new Set(recent.map((event) => event[of]))].filter((value): value is string => !!value).slice(0, OFFERED);
    const offered = Object.fromEntries(FIELDS.map((field) => [field.name, values(field)]));
    return { ...offered, kind: this.kinds };
  }
}

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

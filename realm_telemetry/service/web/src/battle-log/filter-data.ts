import type { ReactiveController } from "lit";
import { getJson } from "../shared/api";
import { getLabels, USUAL_LABELS, type Labels } from "../shared/labels";
import type { ListName } from "./address";
import { FIELDS } from "./fields";
import type { LogPage } from "./log-page";
import type { Results } from "./results";

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

  async load(): Promise<void> {
    await Promise.all([this.loadCounts(), this.loadKinds(), this.loadLabels()]);
  }

  private async loadLabels(): Promise<void> {
    this.labels = await getLabels().catch(() => this.labels);
    this.page.requestUpdate();
  }

  private async loadCounts(): Promise<void> {
    if (document.hidden) return;
    const ask = getJson<ChannelCounts>("api/battle_log/channels", { since: "24h" });
    // The rows' own request shows what is wrong with the service.
    this.counts = await ask.catch(() => this.counts);
    this.page.requestUpdate();
  }

  private async loadKinds(): Promise<void> {
    const params = { by: "kind", since: "30d" };
    const rows = await getJson<{ kind: string }[]>("api/battle_log/summary", params).catch(() => []);
    this.kinds = rows.map((row) => row.kind).sort();
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

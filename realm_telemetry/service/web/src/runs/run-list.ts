import { getRuns, type RunSummary } from "../shared/run";

const FIRST = "100";
const NEXT = "500";
/** How far back changes are read: clocks of producers differ, and events arrive late. */
const OVERLAP_MS = { often: 60_000, seldom: 3_600_000 } as const;
const SELDOM_MS = 15_000;

/**
 * All runs: the newest at once, the others page by page behind them, and then what changed.
 *
 * The whole list is here, so that sorting and searching need no request.
 */
export class RunList {
  private readonly byId = new Map<string, RunSummary>();
  private heardMs = 0;
  private wholeMs = 0;
  private asking: Promise<void> | null = null;
  private rest: URLSearchParams | null = null;
  private isStale = false;
  /** Whether the first page has arrived. */
  loaded = false;

  /** metrics: the names of the numbers that are read with each run. */
  constructor(
    private readonly changed: () => void,
    private readonly metrics: () => readonly string[],
  ) {}

  get runs(): RunSummary[] {
    return [...this.byId.values()];
  }

  /** Whether older runs are still to come. */
  get isPartial(): boolean {
    return this.rest !== null;
  }

  /** Read what is new; at first, everything. Raises ApiError. */
  refresh(): Promise<void> {
    this.asking ??= this.read().finally(() => (this.asking = null));
    return this.asking;
  }

  /** Read all of them again the next time, because other numbers are wanted; until then they stay as they are. */
  beginAgain(): void {
    this.isStale = true;
    this.rest = null;
  }

  private asked(params: Record<string, string>): URLSearchParams {
    return new URLSearchParams([...Object.entries(params), ...this.metrics().map((name) => ["metric", name] as [string, string])]);
  }

  private async read(): Promise<void> {
    if (this.loaded && !this.isStale) await this.readChanged();
    else await this.readFirst();
    this.changed();
    await this.readRest();
  }

  private async readFirst(): Promise<void> {
    this.isStale = false;
    const { runs, next } = await getRuns(this.asked({ limit: FIRST }));
    this.take(runs);
    this.rest = this.isStale ? null : next;
    this.loaded = true;
    this.wholeMs = Date.now();
  }

  private async readChanged(): Promise<void> {
    const nowMs = Date.now();
    const isSeldom = nowMs - this.wholeMs > SELDOM_MS;
    if (isSeldom) this.wholeMs = nowMs;
    // No later than now, whatever a producer's clock says.
    const sinceMs = Math.min(this.heardMs, nowMs) - (isSeldom ? OVERLAP_MS.seldom : OVERLAP_MS.often);
    const since = new Date(Math.max(sinceMs, 0)).toISOString();
    let params: URLSearchParams | null = this.asked({ limit: NEXT, since });
    while (params) {
      const { runs, next } = await getRuns(params);
      this.take(runs);
      params = next;
    }
  }

  private async readRest(): Promise<void> {
    while (this.rest) {
      this.rest.set("limit", NEXT);
      const { runs, next } = await getRuns(this.rest);
      // Those of the numbers before are no use to anybody.
      if (this.isStale) return;
      this.take(runs);
      this.rest = next;
      this.changed();
    }
  }

  private take(runs: readonly RunSummary[]): void {
    for (const run of runs) {
      this.byId.set(run.run_id, run);
      this.heardMs = Math.max(this.heardMs, Date.parse(run.last_event_at ?? "") || 0);
    }
  }
}

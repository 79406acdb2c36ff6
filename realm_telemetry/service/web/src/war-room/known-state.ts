import type { ReactiveController, ReactiveControllerHost } from "lit";
import { Refresh, type Urgency } from "./refresh";
import { expectsNews, getReceipts, getState, type RealmState, type Receipt, type RunState, type StateAnswer } from "./state";

const TICK_MS = 1_000;

/** RealmState and receipts as last answered; asked for again when something came. */
export class KnownState implements ReactiveController {
  receipts: readonly Receipt[] = [];
  /** When the ages in it were true; they go on from there. */
  answeredMs = Date.now();
  /** Settled after the first answer, or failure. */
  loaded: Promise<void> = Promise.resolve();
  private answer: StateAnswer | null = null;
  private readonly refreshing = new Refresh();
  private timer: ReturnType<typeof setInterval> | undefined;

  /** ready: whether this is a time to ask. */
  constructor(
    host: ReactiveControllerHost,
    private readonly ready: () => boolean,
    private readonly answered: () => void,
    private readonly failed: (error: unknown) => void,
  ) {
    host.addController(this);
  }

  hostConnected(): void {
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.loaded = this.refresh();
  }

  hostDisconnected(): void {
    clearInterval(this.timer);
  }

  get realm(): RealmState | undefined {
    return this.answer?.state;
  }

  /** All runs, newest first. */
  get runs(): readonly RunState[] {
    return Object.values(this.realm?.training.runs ?? {});
  }

  get expectsNews(): boolean {
    return this.realm !== undefined && expectsNews(this.realm);
  }

  /** Which worker a producer is. */
  get workerOf(): ReadonlyMap<string, string> {
    const workers = Object.values(this.realm?.workers ?? {});
    return new Map(workers.map((one) => [one.producer ?? "", one.worker_id]));
  }

  want(urgency: Urgency): void {
    this.refreshing.want(urgency);
  }

  private tick(): void {
    if (this.refreshing.due(Date.now(), document.hidden) && this.ready()) void this.refresh();
  }

  private async refresh(): Promise<void> {
    this.refreshing.began(Date.now());
    try {
      [this.answer, this.receipts] = await Promise.all([getState(), getReceipts()]);
      this.answeredMs = Date.now();
      if (this.receipts.some((one) => one.emitted === null)) this.want("eventually");
      this.answered();
    } catch (error) {
      this.want("soon");
      this.failed(error);
    }
  }
}

import { html, nothing, type ReactiveController, type ReactiveControllerHost, type TemplateResult } from "lit";
import { getJson } from "../shared/api";
import { formatAge } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import { awayItems, lastSeen, lostItems, noteSeen, type AwayItem, type KindCount } from "./while-away";

const NOTE_MS = 1_000;

/** What the page shows of the time when nobody looked at it. */
export class Absence implements ReactiveController {
  items: readonly AwayItem[] = [];
  private sinceMs: number | null = null;
  private timer: ReturnType<typeof setInterval> | undefined;

  /** workers: who is which producer, once that is known. */
  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly workers: () => Promise<ReadonlyMap<string, string>>,
    private readonly failed: (error: unknown) => void,
  ) {
    host.addController(this);
  }

  hostConnected(): void {
    document.addEventListener("visibilitychange", this.look);
    addEventListener("pagehide", leave);
    this.timer = setInterval(() => document.hidden || noteSeen(Date.now()), NOTE_MS);
    this.look();
  }

  hostDisconnected(): void {
    document.removeEventListener("visibilitychange", this.look);
    removeEventListener("pagehide", leave);
    clearInterval(this.timer);
  }

  get sinceText(): string {
    return this.sinceMs === null ? "" : formatAge((Date.now() - this.sinceMs) / 1_000);
  }

  readonly dismiss = (): void => this.show([]);

  private show(items: readonly AwayItem[]): void {
    this.items = items;
    this.host.requestUpdate();
  }

  /** The page is looked at (again): what happened since the last time? */
  private readonly look = (): void => {
    if (document.hidden) return leave();
    const sinceMs = lastSeen(Date.now());
    if (sinceMs !== null) void this.lookBack(sinceMs);
    noteSeen(Date.now());
  };

  private async lookBack(sinceMs: number): Promise<void> {
    const since = new Date(sinceMs).toISOString();
    const workerOf = await this.workers();
    try {
      const [counts, lost] = await Promise.all([
        getJson<KindCount[]>("api/battle_log/summary", { by: "kind,severity", since }),
        getJson<RealmEvent[]>("api/battle_log", { kind: "process_lost,worker_stale", since, limit: "3" }),
      ]);
      this.sinceMs = sinceMs;
      this.show([...awayItems(counts, sinceMs), ...lostItems(lost, workerOf)]);
    } catch (error) {
      this.failed(error);
    }
  }
}

const leave = () => noteSeen(Date.now());

/** What happened while nobody looked, each a link. */
export function awayStrip(items: readonly AwayItem[], sinceText: string, dismiss: () => void): TemplateResult | typeof nothing {
  if (!items.length) return nothing;
  return html`<section class="away" aria-label="Since you were away">
    <b>Since you were away</b> <span class="soft">(${sinceText})</span>
    ${items.map((item) => html`<a class="ink-${item.severity}" href=${item.href}>${item.text}</a>`)}
    <button class="quiet" @click=${dismiss} aria-label="Dismiss">✕</button>
  </section>`;
}

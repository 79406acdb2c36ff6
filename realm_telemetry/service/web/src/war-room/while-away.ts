import { html, nothing, type ReactiveController, type ReactiveControllerHost, type TemplateResult } from "lit";
import { getEvents, getJson } from "../shared/api";
import { formatLargestUnit, plural } from "../shared/format";
import { Asking } from "../shared/connection";
import type { RealmEvent, Severity } from "../stream/event";
import { eventHref, logHref } from "../shared/links";

const KEY = "realm-last-seen";
const AWAY_MS = 60_000;
const NAMED = 3;
const NOTE_MS = 1_000;

interface AwayItem {
  text: string;
  href: string;
  severity: Severity;
}

interface KindCount {
  kind: string;
  severity: string;
  count: number;
}

/** When the page was last visible in this browser, if that is over a minute ago; null otherwise. */
function lastSeen(nowMs: number): number | null {
  const stored = Number(localStorage.getItem(KEY));
  return stored && nowMs - stored > AWAY_MS ? stored : null;
}

function noteSeen(nowMs: number): void {
  localStorage.setItem(KEY, String(nowMs));
}

interface Rule {
  severity: Severity;
  one: string;
  many: string;
  filter: { kind: string } | { severity: string };
}

const RULES: readonly Rule[] = [
  { severity: "error", one: "error", many: "errors", filter: { severity: "error" } },
  { severity: "error", one: "job failed", many: "jobs failed", filter: { kind: "job_failed" } },
  { severity: "error", one: "run failed", many: "runs failed", filter: { kind: "training_failed" } },
  { severity: "warning", one: "warning", many: "warnings", filter: { severity: "warning" } },
  { severity: "success", one: "promotion", many: "promotions", filter: { kind: "checkpoint_promoted" } },
  { severity: "success", one: "run completed", many: "runs completed", filter: { kind: "training_completed" } },
];

/** "3 errors", "2 promotions", each a link to those events. */
export function awayItems(counts: readonly KindCount[], sinceMs: number): AwayItem[] {
  const since = new Date(sinceMs).toISOString();
  return RULES.flatMap(({ severity, one, many, filter }) => {
    const fits = (count: KindCount) =>
      "kind" in filter ? count.kind === filter.kind : count.severity === filter.severity;
    const total = counts.filter(fits).reduce((sum, count) => sum + count.count, 0);
    return total ? [{ text: plural(total, one, many), href: logHref({ since, ...filter }), severity }] : [];
  });
}

/** "scout-1 lost": lost or stale workers by name, each a link to its event. */
export function lostItems(events: readonly RealmEvent[], workerOf: ReadonlyMap<string, string>): AwayItem[] {
  return events.slice(0, NAMED).map((event) => {
    const named = event.details["worker_id"] ?? workerOf.get(event.producer) ?? event.details["service"];
    const word = event.kind === "worker_stale" ? "stale" : "lost";
    const text = typeof named === "string" ? `${named.slice(0, 60)} ${word}` : `1 process ${word}`;
    return { text, href: eventHref(event), severity: event.severity };
  });
}

/** What happened while the page was not visible. */
export class WhileAway implements ReactiveController {
  items: readonly AwayItem[] = [];
  private awayMs = 0;
  private readonly asking = new Asking();
  private timer: ReturnType<typeof setInterval> | undefined;

  /** workers: the worker id of each producer, once the state is loaded. */
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

  /** How long the page was not visible: "1 h". */
  get durationText(): string {
    return formatLargestUnit(this.awayMs / 1_000);
  }

  readonly dismiss = (): void => this.show([]);

  private show(items: readonly AwayItem[]): void {
    this.items = items;
    this.host.requestUpdate();
  }

  /** When the page becomes visible, load what happened since the last time. */
  private readonly look = (): void => {
    if (document.hidden) return leave();
    const nowMs = Date.now();
    const sinceMs = lastSeen(nowMs);
    if (sinceMs !== null) void this.lookBack(sinceMs, nowMs);
    noteSeen(nowMs);
  };

  private async lookBack(sinceMs: number, returnedMs: number): Promise<void> {
    const since = new Date(sinceMs).toISOString();
    const ask = () =>
      Promise.all([
        getJson<KindCount[]>("api/battle_log/summary", { by: "kind,severity", since }),
        getEvents<RealmEvent[]>("api/battle_log", { kind: "process_lost,worker_stale", since, limit: "3" }),
      ]);
    const found = await this.asking.until(ask, this.failed);
    if (!found) return;
    const [counts, lost] = found;
    this.awayMs = returnedMs - sinceMs;
    this.show([...awayItems(counts, sinceMs), ...lostItems(lost, await this.workers())]);
  }
}

const leave = () => noteSeen(Date.now());

/** The events of that time by kind, each a link. */
export function awayStrip(items: readonly AwayItem[], durationText: string, dismiss: () => void): TemplateResult | typeof nothing {
  if (!items.length) return nothing;
  return html`<section class="away" aria-label="While you were away">
    <b>While you were away</b> <span class="soft">(${durationText})</span>
    ${items.map((item) => html`<a class="ink-${item.severity}" href=${item.href}>${item.text}</a>`)}
    <button class="quiet" @click=${dismiss} aria-label="Dismiss">✕</button>
  </section>`;
}

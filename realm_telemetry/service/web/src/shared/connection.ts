import { html, nothing, type ReactiveController, type ReactiveControllerHost, type TemplateResult } from "lit";
import type { ConnectionStatus, RealmEvent } from "../stream/event";
import { eventStream } from "../stream/event-stream";
import { ApiError, apiUrl } from "./api";
import { formatTime, plural } from "./format";

/** After an event the page reads what changed, at most this often; without events much less. */
const SOON_MS = 2_000;
const EVENTUALLY_MS = 10_000;

export const HEALTH_PATH = "service-health";
/** What the words of the pill mean. */
const PILL_WORDS: Readonly<Record<string, string>> = {
  Live: "New events appear here by themselves.",
  Reconnecting: "The service does not answer; the page tries again by itself.",
  Paused: "You have paused this page.",
  Stale: "Nothing was received for over a minute, though something runs.",
};

/** How the page is connected, and the way to the health of the service. more: what else the pill says. */
export function connectionPill(word: string, more: TemplateResult | typeof nothing = nothing): TemplateResult {
  const meaning = PILL_WORDS[word];
  const inside = html`<span class="dot" aria-hidden="true"></span>${word}${more}`;
  // The page that it leads to would come from the same service.
  if (word === "Reconnecting") return html`<span class="pill connection reconnecting" title=${meaning ?? nothing} data-testid="status-pill">${inside}</span>`;
  return html`<a class="pill connection ${word.toLowerCase()}" href=${apiUrl(HEALTH_PATH)} title="${meaning ? `${meaning} ` : ""}A click shows the health of the service." data-testid="status-pill"
    >${inside}</a
  >`;
}

/** A line while the service is down. answeredMs: when it answered last. */
export function downNotice(answeredMs: number | null): TemplateResult {
  return html`<p class="notice-line ink-warning" role="alert">
    The service does not answer. Is <code>realm serve</code> running?${asOfText(answeredMs)}
  </p>`;
}

function asOfText(answeredMs: number | null): string {
  return answeredMs === null ? "" : ` This page is as of ${formatTime(new Date(answeredMs), { zone: "local" })}.`;
}

interface Wanted {
  /** Read what the page shows. */
  read: () => Promise<void>;
  /** Whether an event changes what the page shows. */
  concerns: (event: RealmEvent) => boolean;
}

/**
 * Keeps what a page shows current while it is visible: soon after an event, and every ten seconds.
 *
 * It knows whether the service answers, and since when not.
 */
export class Freshness implements ReactiveController {
  status: ConnectionStatus = eventStream.status;
  /** What is wrong with the last answer, apart from that there was none. */
  problem: ApiError | null = null;
  /** When the service answered last; null before that. */
  answeredMs: number | null = null;
  private isReached = true;
  private isReading = false;
  private readMs = 0;
  /** When the next reading is due; infinity while none is planned. */
  private dueMs = Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly stops: (() => void)[] = [];

  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly wanted: Wanted,
  ) {
    host.addController(this);
  }

  hostConnected(): void {
    const seen = () => this.want(0);
    document.addEventListener("visibilitychange", seen);
    this.stops.push(
      eventStream.messages((message) => {
        if (message.type === "status") this.turned(message.status);
        else if (message.type !== "event" || this.wanted.concerns(message.event)) this.want(SOON_MS);
      }),
      () => document.removeEventListener("visibilitychange", seen),
    );
    this.want(0);
  }

  hostDisconnected(): void {
    clearTimeout(this.timer);
    this.dueMs = Infinity;
    this.stops.splice(0).forEach((stop) => stop());
  }

  /** Whether the service neither streams nor answers. */
  get isDown(): boolean {
    return !this.isReached || this.status === "reconnecting";
  }

  private turned(status: ConnectionStatus): void {
    const wasDown = this.status === "reconnecting";
    this.status = status;
    this.host.requestUpdate();
    if (status === "live" && wasDown) this.want(0);
  }

  /** Read at once, or as soon as the reading that goes on has ended. */
  readNow(): void {
    this.want(0);
  }

  /** Read so long after the last time, or earlier if that is planned already. */
  private want(pauseMs: number): void {
    const dueMs = pauseMs === 0 ? performance.now() : this.readMs + pauseMs;
    if (document.hidden || dueMs >= this.dueMs) return;
    this.dueMs = dueMs;
    if (!this.isReading) this.plan();
  }

  private plan(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.read(), Math.max(0, this.dueMs - performance.now()));
  }

  private async read(): Promise<void> {
    this.readMs = performance.now();
    this.dueMs = Infinity;
    this.isReading = true;
    try {
      await this.wanted.read();
      this.isReached = true;
      this.answeredMs = Date.now();
      this.problem = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.isReached = error.status !== 0;
      this.problem = error.status === 0 ? null : error;
    } finally {
      this.isReading = false;
      this.host.requestUpdate();
      this.want(EVENTUALLY_MS);
      if (this.dueMs < Infinity) this.plan();
    }
  }

  /** Live, Connecting or Reconnecting. */
  pill(): TemplateResult {
    const word = this.isDown ? "Reconnecting" : this.status === "live" ? "Live" : "Connecting";
    return connectionPill(word);
  }

  /** A line while the service is down or refuses. */
  notice(): TemplateResult | typeof nothing {
    if (this.isDown) return downNotice(this.answeredMs);
    if (!this.problem) return nothing;
    return html`<p class="notice-line ink-error" role="alert">${this.problem.message} ${this.problem.hint}${asOfText(this.answeredMs)}</p>`;
  }
}

export type Level = "ok" | "warning" | "problem";

export interface Check {
  check: string;
  level: Level;
  message: string;
  fix: string;
}

/** What `GET /api/health` answers; null is what could not be looked at. */
export interface Health {
  status: Level;
  checks: Check[];
  service: { version: string; host: string; address: string; started_at: string | null; streams: number };
  log: {
    place: string;
    log_id: string | null;
    cursor: number | null;
    size_bytes: number | null;
    disk_free_bytes: number | null;
    disk_total_bytes: number | null;
    keeps_days: number | null;
    keeps_bytes: number | null;
  };
  exporters: { name: string; of: string; behind: number; problem: string }[];
  shippers: { pipeline: string; running: boolean; pid: number | null; programs: number; waiting: number; dropped: number; problem: string }[];
  hosts: { host: string; status: string; age_s: number; runs: { run_id: string }[] }[];
  receipts: { producers: number; live: number; emitted: number; stored: number; stored_so_far: number; dropped: number; incomplete: number } | null;
}

/** "1 problem and 2 warnings"; empty if all is well. */
export function healthText({ checks }: Pick<Health, "checks">): string {
  const count = (level: Level) => checks.filter((one) => one.level === level).length;
  const parts = [count("problem") && plural(count("problem"), "problem"), count("warning") && plural(count("warning"), "warning")];
  return parts.filter(Boolean).join(" and ");
}

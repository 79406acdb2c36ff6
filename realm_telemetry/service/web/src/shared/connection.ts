import { html, nothing, type ReactiveController, type ReactiveControllerHost, type TemplateResult } from "lit";
import type { ConnectionStatus, RealmEvent } from "../stream/event";
import { eventStream } from "../stream/event-stream";
import { ApiError, apiUrl, asApiError } from "./api";
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

/** "Live", "Connecting" or "Reconnecting". */
export function pillWord(status: ConnectionStatus): string {
  return status.charAt(0).toUpperCase() + status.slice(1);
}

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

/** A line about what went wrong. answeredMs: when the service answered last. */
export function problemNotice(error: ApiError, answeredMs: number | null): TemplateResult {
  if (error.status === 0) return downNotice(answeredMs);
  return html`<p class="notice-line ink-error" role="alert">${error.message} ${wayOut(error)}${asOfText(answeredMs)}</p>`;
}

/** What to do about an error. A page without a cookie becomes the form to log in, when it is loaded again. */
export function wayOut({ status, hint }: ApiError): TemplateResult {
  return status === 401 ? html`<a href=${location.pathname + location.search}>Log in</a>` : html`${hint}`;
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

/**
 * Asks once, for a panel that nothing else keeps current, and again after an error that may pass: later, and at once
 * when the service is back.
 */
export class Asking {
  private turn = 0;
  private wake = () => {};

  /** failed: takes each error. undefined: it cannot be had, or something else was asked for since. */
  async until<T>(ask: () => Promise<T>, failed: (error: ApiError) => void = () => {}): Promise<T | undefined> {
    this.stop();
    const { turn } = this;
    for (;;) {
      try {
        const found = await ask();
        return turn === this.turn ? found : undefined;
      } catch (error) {
        if (turn !== this.turn) return undefined;
        const problem = asApiError(error);
        failed(problem);
        if (!problem.isPassing) return undefined;
        await this.pause(problem.againMs);
        if (turn !== this.turn) return undefined;
      }
    }
  }

  /** Do not wait for the next time. */
  now(): void {
    this.wake();
  }

  /** Nobody wants it any more. */
  stop(): void {
    this.turn += 1;
    this.wake();
  }

  private async pause(ms: number): Promise<void> {
    const ends: (() => void)[] = [];
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      const timer = setTimeout(resolve, ms);
      let isBack = false;
      ends.push(
        () => clearTimeout(timer),
        eventStream.messages((message) => message.type === "status" && message.status === "live" && isBack && resolve()),
      );
      // The first message is how it is now.
      isBack = true;
    });
    ends.forEach((end) => end());
  }
}

interface Wanted {
  /** Read what the page shows. again: also what was read before, because the service was away since. */
  read: (again: boolean) => Promise<void>;
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
  /** Whether the connection broke after the last answer. */
  private isLost = false;
  /** Whether something went wrong since all was read. */
  private isOld = false;
  private isReading = false;
  private readMs = 0;
  /** The service asked not to be asked before. */
  private notBeforeMs = 0;
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
    return !this.isReached || this.isLost;
  }

  private turned(status: ConnectionStatus): void {
    const was = this.status;
    this.status = status;
    if (status === "reconnecting" && was !== status) {
      this.isLost = this.isOld = true;
      // Whether it is down, or refuses.
      this.want(SOON_MS);
    }
    this.host.requestUpdate();
    if (status === "live" && was === "reconnecting") this.want(0);
  }

  /** Read at once, or as soon as the reading that goes on has ended. */
  readNow(): void {
    this.want(0);
  }

  /** Read so long after the last time, or earlier if that is planned already. */
  private want(pauseMs: number): void {
    const dueMs = Math.max(this.notBeforeMs, pauseMs === 0 ? performance.now() : this.readMs + pauseMs);
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
    const again = this.isOld;
    this.isOld = false;
    try {
      await this.wanted.read(again);
      this.isReached = true;
      this.isLost = false;
      this.answeredMs = Date.now();
      this.problem = null;
    } catch (error) {
      this.isOld = true;
      if (!(error instanceof ApiError)) throw error;
      this.isReached = error.status !== 0;
      this.isLost &&= !this.isReached;
      this.problem = error.status === 0 ? null : error;
      if (this.isReached) this.notBeforeMs = performance.now() + error.againMs;
    } finally {
      this.isReading = false;
      this.host.requestUpdate();
      this.want(EVENTUALLY_MS);
      if (this.dueMs < Infinity) this.plan();
    }
  }

  /** Live, Connecting or Reconnecting. */
  pill(): TemplateResult {
    return connectionPill(pillWord(this.isDown ? "reconnecting" : this.status));
  }

  /** A line while the service is down or refuses. */
  notice(): TemplateResult | typeof nothing {
    if (this.isDown) return downNotice(this.answeredMs);
    return this.problem ? problemNotice(this.problem, this.answeredMs) : nothing;
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

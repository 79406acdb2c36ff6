import { html, nothing, type ReactiveController, type ReactiveControllerHost, type TemplateResult } from "lit";
import { ApiError, apiUrl } from "./api";
import { formatTime } from "./format";
import type { ConnectionStatus, RealmEvent } from "../stream/event";
import { eventStream } from "../stream/event-stream";

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
  return html`<a class="pill connection ${word.toLowerCase()}" href=${apiUrl(HEALTH_PATH)} title="${meaning ? `${meaning} ` : ""}A click shows the health of the service." data-testid="status-pill"
    ><span class="dot" aria-hidden="true"></span>${word}${more}</a
  >`;
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
    const asOf = this.answeredMs === null ? "" : ` This page is as of ${formatTime(new Date(this.answeredMs), { zone: "local" })}.`;
    if (this.isDown) {
      return html`<p class="notice-line ink-warning" role="alert">
        The service does not answer. Is <code>realm serve</code> running?${asOf}
      </p>`;
    }
    if (!this.problem) return nothing;
    return html`<p class="notice-line ink-error" role="alert">${this.problem.message} ${this.problem.hint}${asOf}</p>`;
  }
}

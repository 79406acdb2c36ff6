import { html, type TemplateResult } from "lit";
import type { ConnectionStatus } from "../stream/event";
import type { LogPage } from "./log-page";

const CONNECTION: Record<ConnectionStatus, string> = {
  live: "Live",
  connecting: "Connecting",
  reconnecting: "Reconnecting",
};

/** The page's own tools in the header: connection, live tail, zone, summary. */
export function pageTools({ place, live, go }: LogPage): TemplateResult {
  const summary = place.view === "summary";
  const utc = place.zone === "utc";
  return html`<span class="pill status-${live.status}" data-testid="status-pill">${CONNECTION[live.status]}</span>
    <button role="switch" aria-checked=${place.live} class="switch" data-testid="live-tail" @click=${live.toggle}>
      <span class="switch-dot" aria-hidden="true"></span> Live tail
    </button>
    <button
      data-testid="zone"
      title="Switch between local time and UTC"
      @click=${() => go({ ...place, zone: utc ? "local" : "utc" })}
    >
      ${utc ? "UTC" : "Local time"}
    </button>
    <button
      aria-pressed=${summary}
      data-testid="summary"
      @click=${() => go({ ...place, view: summary ? "log" : "summary" })}
    >
      Summary
    </button>`;
}

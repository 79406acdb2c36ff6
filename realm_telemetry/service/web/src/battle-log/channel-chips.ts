import { html, type TemplateResult } from "lit";
import { CHANNELS } from "../shared/catalog";
import { formatCount } from "../shared/format";
import { leftOut } from "./address";

/** `api/battle_log/channels`. */
export interface ChannelCounts {
  channels: Record<string, { count: number; counts: Record<string, number>; description: string }>;
  oldest: string | null;
  retention_days: number;
}

/** One chip for each channel with its events of the last 24 hours, whatever the filters. */
export function channelChips(
  counts: ChannelCounts | null,
  chosen: readonly string[],
  toggle: (name: string) => void,
): TemplateResult {
  return html`<div class="channels" role="group" aria-label="Channels, with events of the last 24 hours">
    ${Object.entries(CHANNELS).map(([name, look]) => {
      const channel = counts?.channels[name];
      const count = channel ? formatCount(channel.count) : "–";
      return html`<button
        class="channel ${chosen.includes(leftOut(name)) ? "left-out" : ""}"
        data-testid="channel-${name}"
        aria-pressed=${chosen.includes(name)}
        aria-label="${look.label}${chosen.includes(leftOut(name)) ? ", left out" : ""}, ${count} in 24 hours"
        title=${channel?.description ?? look.label}
        @click=${() => toggle(name)}
      >
        <span aria-hidden="true">${look.icon}</span> ${look.label}
        <span class="channel-count" aria-hidden="true">${count}</span>
      </button>`;
    })}
  </div>`;
}

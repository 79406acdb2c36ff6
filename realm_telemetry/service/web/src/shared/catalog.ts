import { html, type TemplateResult } from "lit";
import type { Severity } from "../stream/event";

export interface ChannelLook {
  icon: string;
  label: string;
}

/** Names and icons of realm_telemetry/kinds/table.py, most important first. */
export const CHANNELS: Readonly<Record<string, ChannelLook>> = {
  training: { icon: "📈", label: "Training" },
  checkpoint: { icon: "💾", label: "Checkpoint" },
  eval: { icon: "📊", label: "Eval" },
  jobs: { icon: "⚔️", label: "Jobs" },
  data: { icon: "📦", label: "Data" },
  guild: { icon: "🏰", label: "Guild" },
  vault: { icon: "🗃️", label: "Vault" },
  system: { icon: "⚙️", label: "System" },
  debug: { icon: "🔧", label: "Debug" },
};

export interface SeverityLook {
  name: Severity;
  icon: string;
  label: string;
}

export const SEVERITIES: readonly SeverityLook[] = [
  { name: "error", icon: "✕", label: "Error" },
  { name: "warning", icon: "!", label: "Warning" },
  { name: "success", icon: "✓", label: "Success" },
  { name: "info", icon: "i", label: "Info" },
];

const LOOKS = new Map(SEVERITIES.map((look) => [look.name, look]));

export function channelIcon(name: string): string {
  return CHANNELS[name]?.icon ?? "•";
}

/** A severity as icon, text and colour: one of them alone does not reach every reader. */
export function severityMark(severity: Severity): TemplateResult {
  const look = LOOKS.get(severity) ?? LOOKS.get("info")!;
  return html`<span class="severity ${look.name}"
    ><span class="severity-icon" aria-hidden="true">${look.icon}</span>${look.label}</span
  >`;
}

import type { ConnectionStatus } from "../stream/event";

const STALE_S = 60;

export type PillWord = "Live" | "Connecting" | "Reconnecting" | "Paused" | "Stale";

/** What the pill says. expecting: whether something runs that should be heard of every few seconds. */
export function pillWord(
  status: ConnectionStatus,
  paused: boolean,
  ageS: number | null,
  expecting: boolean,
): PillWord {
  if (status === "reconnecting") return "Reconnecting";
  if (paused) return "Paused";
  if (status === "connecting") return "Connecting";
  return expecting && ageS !== null && ageS > STALE_S ? "Stale" : "Live";
}

import type { RealmEvent } from "../stream/event";

export type Zone = "local" | "utc";

const counts = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });
const DURATIONS: readonly [number, string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** 48120 -> "48,120". */
export function formatCount(n: number): string {
  return counts.format(n);
}

/** A measured value in about four significant digits: 0.2340, 1.2e-5, 48,120. */
export function formatNumber(n: number): string {
  if (!Number.isFinite(n)) return String(n);
  const size = Math.abs(n);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return n.toExponential(2).replace("e+", "e");
  if (size >= 1_000) return counts.format(Math.round(n));
  return Number.isInteger(n) ? String(n) : n.toPrecision(4);
}

/** The label of an axis tick, as short as possible. */
export function formatTick(n: number): string {
  const size = Math.abs(n);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return n.toExponential(1).replace("e+", "e").replace(".0e", "e");
  return counts.format(Number(n.toPrecision(6)));
}

/** Seconds as the two largest units: 3_725 -> "1 h 2 min". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1_000))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  let rest = Math.round(seconds);
  const parts: string[] = [];
  for (const [size, unit] of DURATIONS) {
    const whole = Math.floor(rest / size);
    if (whole && parts.length < 2) parts.push(`${whole} ${unit}`);
    else if (parts.length) break;
    rest -= whole * size;
  }
  return parts.join(" ");
}

/** "just now", "12 s ago", "3 min ago": one unit, because it changes while it is read. */
export function formatAge(seconds: number): string {
  return seconds < 1.5 ? "just now" : `${formatLargestUnit(seconds)} ago`;
}

/** Whole seconds as their largest unit: 3_725 -> "1 h". */
export function formatLargestUnit(seconds: number): string {
  const [size, unit] = DURATIONS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** 09:41:07.123, with the date in front if `date` is set. */
export function formatTime(date: Date, options: { zone: Zone; date?: boolean; millis?: boolean }): string {
  const shifted =
    options.zone === "utc" ? date : new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  const text = shifted.toISOString();
  const time = text.slice(11, options.millis ? 23 : 19);
  return options.date ? `${text.slice(0, 10)} ${time}` : time;
}

const zone = new Intl.DateTimeFormat("en-US", { timeZoneName: "short" });

/** The name of the local time zone at a time: "GMT+2", "PST". */
export function zoneName(ms = Date.now()): string {
  return zone.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value ?? "";
}

/** When an event happened, in milliseconds since 1970. */
export function timeMs(event: Pick<RealmEvent, "time_unix_nano">): number {
  return Number(event.time_unix_nano) / 1e6;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${formatCount(n)} ${n === 1 ? one : many}`;
}

/** 68719476736 -> "64.0 GiB". */
export function bytesText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let at = 0;
  for (; size >= 1_024 && at < units.length - 1; at++) size /= 1_024;
  return `${at ? (size < 1_000 ? size.toPrecision(3) : Math.round(size)) : size} ${units[at]}`;
}

/** Characters that turn the direction of what follows: shown as they are, a message could read as another one. */
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const QUOTED = /`([^`\n]+)`/g;

/** A message as people read it: without backticks around names, and with a mark for each override of the direction. */
export function shownText(message: string): string {
  return message.replace(QUOTED, "$1").replace(TURNING, (mark) => `⟨U+${mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

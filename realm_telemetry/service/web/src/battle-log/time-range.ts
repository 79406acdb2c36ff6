import { formatTime, type Zone } from "../shared/format";
import { type Address, queryParams, type Range } from "./address";

const UNITS_MS: Record<string, number> = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };
const NIGHT_BEGINS_H = 18;
const NIGHT_ENDS_H = 8;

/** label: on its button. text: elsewhere. */
interface Preset {
  label: string;
  text: string;
  range: Range;
}

const since = (text: string): Range => ({ named: null, since: text, until: "" });

export const PRESETS: readonly Preset[] = [
  { label: "1 h", text: "last hour", range: since("1h") },
  { label: "Last night", text: "last night", range: { named: "last-night", since: "", until: "" } },
  { label: "24 h", text: "last 24 hours", range: since("24h") },
  { label: "7 d", text: "last 7 days", range: since("7d") },
  { label: "All", text: "all time", range: { named: "all", since: "", until: "" } },
];

/** A range as absolute times; null where it is open. */
export interface TimeSpan {
  since: string | null;
  until: string | null;
}

/** Make a range absolute: all requests of one view must cover the same time. */
export function resolveRange(range: Range, now: Date, zone: Zone): TimeSpan {
  if (range.named === "all") return { since: null, until: null };
  if (range.named === "last-night") return lastNight(now, zone);
  return { since: resolveTime(range.since, now), until: resolveTime(range.until, now) };
}

/** A relative time or `now` as ISO 8601; everything else is left to the service. */
export function resolveTime(text: string, now: Date): string | null {
  const word = text.trim().toLowerCase();
  if (!word) return null;
  if (word === "now") return now.toISOString();
  const ago = /^(\d{1,9})\s*([smhdw])(?:\s+ago)?$/.exec(word);
  if (!ago) return text.trim();
  const moment = new Date(now.getTime() - Number(ago[1]) * (UNITS_MS[ago[2] ?? ""] ?? 0));
  return Number.isNaN(moment.getTime()) ? text.trim() : moment.toISOString();
}

/** From 18:00 to 08:00; before 08:00 it is the current night. */
export function lastNight(now: Date, zone: Zone): TimeSpan {
  const end = atHour(now, NIGHT_ENDS_H, zone);
  const begin = atHour(now, NIGHT_BEGINS_H, zone, -1);
  return { since: begin.toISOString(), until: now < end ? null : end.toISOString() };
}

function atHour(now: Date, hour: number, zone: Zone, days = 0): Date {
  const moment = new Date(now);
  if (zone === "utc") {
    moment.setUTCDate(moment.getUTCDate() + days);
    moment.setUTCHours(hour, 0, 0, 0);
  } else {
    moment.setDate(moment.getDate() + days);
    moment.setHours(hour, 0, 0, 0);
  }
  return moment;
}

/** The HTTP API's parameters for the rows of an address. */
export function apiParams(address: Pick<Address, "query">, span: TimeSpan): URLSearchParams {
  const params = queryParams(address.query);
  if (span.since) params.set("since", span.since);
  if (span.until) params.set("until", span.until);
  return params;
}

/** A time of the HTTP API in milliseconds, as the service reads it; NaN if it is invalid. */
export function momentMs(text: string): number {
  if (/^-?\d{5,11}(\.\d{1,9})?$/.test(text)) return Number(text) * 1_000;
  const zoned = /[zZ]$|[+-]\d\d:?\d\d$/.test(text);
  return Date.parse(zoned || /^\d{4}-\d\d-\d\d$/.test(text) ? text : `${text}Z`);
}

/** A range in words. */
export function rangeText(range: Range, zone: Zone): string {
  const preset = PRESETS.find(
    (one) => one.range.named === range.named && one.range.since === range.since,
  );
  if (preset && !range.until) return preset.text;
  const shown = (text: string) => {
    const ms = momentMs(text);
    return Number.isNaN(ms) ? text : formatTime(new Date(ms), { zone, date: true });
  };
  if (!range.until) return `since ${shown(range.since)}`;
  if (!range.since) return `until ${shown(range.until)}`;
  return `${shown(range.since)} – ${shown(range.until)}`;
}

/** Nanoseconds as a string of seconds, which the HTTP API reads to the last digit. */
export function seconds(nanos: string | bigint): string {
  const digits = String(nanos).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/** One nanosecond later, for ranges that must contain the time. */
export function secondsAfter(nanos: string): string {
  return seconds(BigInt(nanos) + 1n);
}

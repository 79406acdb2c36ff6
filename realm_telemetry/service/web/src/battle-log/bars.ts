import { formatTime, type Zone } from "../shared/format";
import type { Severity } from "../stream/event";

/** A bar as `api/battle_log/histogram` answers it. */
export interface Bucket {
  start: string;
  end: string;
  count: number;
  counts: Partial<Record<Severity, number>>;
}

export interface Histogram {
  buckets: Bucket[];
  width_s: number;
  total: number;
  relation: "eq" | "gte";
  as_of: number;
}

/** From the ground up: what is worst stands on top, where it is seen. */
export const STACK: readonly Severity[] = ["info", "success", "warning", "error"];

export interface BarPart {
  severity: Severity;
  y: number;
  height: number;
}

const LEAST_HEIGHT = 2;

/** The parts of a bar; one error among a million events still has a visible height. */
export function barParts(bucket: Bucket, most: number, height: number): BarPart[] {
  const parts: BarPart[] = [];
  let top = height;
  for (const severity of STACK) {
    const count = bucket.counts[severity] ?? 0;
    if (!count) continue;
    const size = Math.min(top, Math.max((count / Math.max(most, 1)) * height, LEAST_HEIGHT));
    top -= size;
    parts.push({ severity, y: top, height: size });
  }
  return parts;
}

/** The bucket at a fraction of the width; -1 if there are none. */
export function bucketAt(fraction: number, count: number): number {
  return Math.min(count - 1, Math.max(0, Math.floor(fraction * count)));
}

/** The times from one bucket to another, whichever is the earlier. */
export function spanOf(
  buckets: readonly Bucket[],
  from: number,
  to: number,
): { since: string; until: string } | null {
  const first = buckets[Math.min(from, to)];
  const last = buckets[Math.max(from, to)];
  return first && last ? { since: first.start, until: last.end } : null;
}

export function bucketText(bucket: Bucket, zone: Zone): string {
  const start = formatTime(new Date(bucket.start), { zone, date: true });
  const counts = [...STACK]
    .reverse()
    .filter((severity) => bucket.counts[severity])
    .map((severity) => `${bucket.counts[severity]?.toLocaleString("en-US")} ${severity}`);
  const end = formatTime(new Date(bucket.end), { zone });
  return `${start} – ${end}: ${counts.join(", ") || "no events"}`;
}

export interface Tick {
  fraction: number;
  text: string;
}

/** About `most` labels below the bars, in units that fit the span. */
export function ticks(buckets: readonly Bucket[], most: number, zone: Zone): Tick[] {
  if (!buckets.length) return [];
  const first = new Date(buckets[0]!.start);
  const last = new Date(buckets.at(-1)!.end);
  const hours = (last.getTime() - first.getTime()) / 36e5;
  const step = Math.max(1, Math.ceil(buckets.length / most));
  const marks: Tick[] = [];
  for (let at = 0; at < buckets.length; at += step) {
    const text = formatTime(new Date(buckets[at]!.start), { zone, date: true });
    const [day, time] = [text.slice(5, 10), text.slice(11, 16)];
    const long = hours > 72 ? day : hours > 26 ? `${day} ${time}` : time;
    marks.push({ fraction: at / buckets.length, text: hours < 0.1 ? text.slice(11, 19) : long });
  }
  return marks;
}

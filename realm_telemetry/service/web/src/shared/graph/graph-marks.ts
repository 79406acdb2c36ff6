import { shownText } from "../format";
import type { Chart } from "./chart";
import type { Palette } from "./palette";
import type { NonFinite } from "./plot";
import type { Marker } from "./run-series";
const RADIUS = 4;
const CLUSTER_PX = 9;
const NOTE_CHARS = 28;
/** Crosses that are nearer than this share one name. */
const NAMED_PX = 40;
const RANK: Readonly<Record<string, number>> = { error: 3, warning: 2, success: 1, info: 0 };

/** A drawn marker: its position, and how many markers it represents. */
export interface Hit {
  left: number;
  marker: Marker;
  count: number;
}

/** Combine overlapping markers into one: a note, else the most severe. */
export function cluster(placed: readonly { left: number; marker: Marker }[]): Hit[] {
  const hits: Hit[] = [];
  for (const { left, marker } of [...placed].sort((a, b) => a.left - b.left)) {
    const last = hits.at(-1);
    if (!last || left - last.left > CLUSTER_PX) {
      hits.push({ left, marker, count: 1 });
      continue;
    }
    last.count += 1;
    if (weight(marker) > weight(last.marker)) last.marker = marker;
  }
  return hits;
}

function weight(marker: Marker): number {
  return marker.event.kind === "note" ? 4 : (RANK[marker.event.severity] ?? 0);
}

/** Draw markers along the top: a ring for a saved checkpoint, a dot for everything else. */
export function drawMarkers(chart: Chart, hits: readonly Hit[], palette: Palette): void {
  const { ctx } = chart;
  let labelled = -Infinity;
  ctx.save();
  for (const { left, marker } of hits) {
    const note = marker.event.kind === "note";
    ctx.strokeStyle = ctx.fillStyle = note ? palette["--accent"] : palette[`--${marker.event.severity}`];
    ctx.globalAlpha = 0.3;
    ctx.fillRect(left - 0.5, 0, 1, chart.height);
    ctx.globalAlpha = 1;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.arc(left, RADIUS + 1, RADIUS, 0, 2 * Math.PI);
    if (marker.event.kind === "checkpoint_saved") ctx.stroke();
    else ctx.fill();
    if (note) labelled = drawLabel(chart, left, labelled, shownText(marker.event.message), palette);
  }
  ctx.restore();
}

/** Draw a note's first words beside its line, where there is room from `free` on; returns where the next may begin. */
function drawLabel({ ctx, width }: Chart, left: number, free: number, message: string, palette: Palette): number {
  const text = message.length > NOTE_CHARS ? `${message.slice(0, NOTE_CHARS - 1)}…` : message;
  ctx.font = "11px system-ui, sans-serif";
  const wide = ctx.measureText(text).width;
  const flipped = left + wide + 8 > width;
  if ((flipped ? left - wide - 8 : left) < free) return free;
  ctx.fillStyle = palette["--ink"];
  ctx.textBaseline = "middle";
  ctx.textAlign = flipped ? "right" : "left";
  ctx.fillText(text, left + (flipped ? -8 : 8), 18);
  return left + (flipped ? 0 : wide + 16);
}

/** Draw a cross for each non-finite value: infinity at the top, NaN and minus infinity at the bottom. */
export function drawNonFinite(chart: Chart, nonFinite: readonly NonFinite[], palette: Palette): void {
  const { ctx } = chart;
  let labelled = -Infinity;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = palette["--error"];
  ctx.lineWidth = 2;
  ctx.font = "600 11px system-ui, sans-serif";
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  for (const { x, value } of nonFinite) {
    const left = chart.leftOf(x);
    if (!(left >= 0 && left <= chart.width)) continue;
    const top = value === Infinity ? 18 : chart.height - 8;
    drawCross(ctx, left, top, 4);
    // Above its cross: others may follow beside it.
    if (left > labelled + NAMED_PX) ctx.fillText(nonFiniteText(value), Math.min(left - 4, chart.width - 24), top + (value === Infinity ? 14 : -14));
    labelled = left;
  }
  ctx.restore();
}

export function nonFiniteText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return value > 0 ? "∞" : "−∞";
}

function drawCross(ctx: CanvasRenderingContext2D, x: number, y: number, r: number): void {
  ctx.beginPath();
  ctx.moveTo(x - r, y - r);
  ctx.lineTo(x + r, y + r);
  ctx.moveTo(x + r, y - r);
  ctx.lineTo(x - r, y + r);
  ctx.stroke();
}

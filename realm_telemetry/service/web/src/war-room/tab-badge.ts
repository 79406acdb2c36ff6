import { formatNumber } from "../shared/format";
import type { RunSeries } from "../shared/graph/run-series";
import { liveRun, type RunState } from "./state";

const SIZE = 32;
const CURVE_POINTS = 64;
const SHOWN_POINTS = 16;
const ERROR = "#b3261e";
const PAPER = "#0f1217";
const CURVE = "#7fb2ff";

interface Badge {
  errors: number;
  loss: string | null;
  curve: readonly number[];
  /** "1 stalled"; empty if all runs are well. */
  problems: string;
}

/** What the browser tab shows of the newest run. */
export function badgeOf(errors: number, run: RunState | undefined, series: RunSeries | undefined): Badge {
  const points = series?.points ?? [];
  const loss = run ? liveRun(run, points.at(-1)).loss : null;
  const curve = points.slice(-CURVE_POINTS).flatMap((point) => (Number.isFinite(point.loss) ? [point.loss!] : []));
  const text = typeof loss === "number" ? formatNumber(loss) : typeof loss === "string" ? loss : null;
  return { errors, loss: text, curve, problems: "" };
}

/** Set title and icon of the tab: errors and loss are visible from other tabs. */
export function showBadge({ errors, loss, curve, problems }: Badge): void {
  const title = titleOf(errors, loss, problems);
  if (document.title === title && document.querySelector("link[rel=icon]")) return;
  document.title = title;
  drawIcon(errors, curve.slice(-SHOWN_POINTS));
}

export function titleOf(errors: number, loss: string | null, problems = ""): string {
  const prefix = errors ? `(✕ ${errors}) ` : "";
  return `${problems && `${problems} · `}${prefix}${loss === null ? "" : `loss ${loss} · `}War Room`;
}

function drawIcon(errors: number, curve: readonly number[]): void {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const ctx = canvas.getContext("2d");
  if (!ctx) return;
  ctx.fillStyle = PAPER;
  ctx.beginPath();
  ctx.roundRect(0, 0, SIZE, SIZE, 7);
  ctx.fill();
  drawCurve(ctx, curve.length > 1 ? curve : [3, 1.6, 1, 0.7, 0.5]);
  if (errors) drawCount(ctx, errors);
  const link = document.querySelector<HTMLLinkElement>("link[rel=icon]") ?? document.createElement("link");
  link.rel = "icon";
  link.href = canvas.toDataURL();
  if (!link.isConnected) document.head.append(link);
}

function drawCurve(ctx: CanvasRenderingContext2D, curve: readonly number[]): void {
  const least = Math.min(...curve);
  const span = Math.max(...curve) - least || 1;
  ctx.strokeStyle = CURVE;
  ctx.lineWidth = 3;
  ctx.lineJoin = "round";
  ctx.beginPath();
  curve.forEach((value, index) => {
    ctx.lineTo(5 + (index / (curve.length - 1)) * (SIZE - 10), SIZE - 6 - ((value - least) / span) * (SIZE - 12));
  });
  ctx.stroke();
}

function drawCount(ctx: CanvasRenderingContext2D, errors: number): void {
  ctx.fillStyle = ERROR;
  ctx.beginPath();
  ctx.arc(21, 11, 11, 0, 2 * Math.PI);
  ctx.fill();
  ctx.fillStyle = "#fff";
  ctx.font = "bold 15px sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(errors > 9 ? "9+" : String(errors), 21, 12);
}

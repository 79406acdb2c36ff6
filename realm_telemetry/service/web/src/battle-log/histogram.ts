import { html, LitElement, nothing, svg, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { formatCount, formatTime, plural, type Zone } from "../shared/format";
import type { Severity } from "../stream/event";

/** From bottom to top: the worst on top, where it is visible. */
const STACK: readonly Severity[] = ["info", "success", "warning", "error"];
const LEAST_HEIGHT = 2;
const HEIGHT = 56;
const TICKS = 8;
const NARROW_TICKS = 4;

/** A bar of `api/battle_log/histogram`. */
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

interface BarPart {
  severity: Severity;
  y: number;
  height: number;
}

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

/** The time range of two buckets and all between, in either order. */
export function spanOf(
  buckets: readonly Bucket[],
  from: number,
  to: number,
): { since: string; until: string } | null {
  const first = buckets[Math.min(from, to)];
  const last = buckets[Math.max(from, to)];
  return first && last ? { since: first.start, until: last.end } : null;
}

function bucketText(bucket: Bucket, zone: Zone): string {
  const start = formatTime(new Date(bucket.start), { zone, date: true });
  const counts = [...STACK]
    .reverse()
    .filter((severity) => bucket.counts[severity])
    .map((severity) => `${formatCount(bucket.counts[severity] ?? 0)} ${severity}`);
  const end = formatTime(new Date(bucket.end), { zone });
  return `${start} – ${end}: ${counts.join(", ") || "no events"}`;
}

interface Tick {
  fraction: number;
  text: string;
}

/** About `most` labels below the bars, in units that fit the time range. */
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

/**
 * Events over time, stacked by severity.
 *
 * Dragging, or arrow keys with Shift and then Enter, selects a range. Sends `range` with since
 * and until.
 */
@customElement("realm-histogram")
export class RealmHistogram extends LitElement {
  @property({ attribute: false }) histogram: Histogram | null = null;
  @property() zone: Zone = "local";
  @state() private from = -1;
  @state() private to = -1;
  @query(".bars") private bars!: HTMLElement;
  private dragging = false;

  protected override createRenderRoot() {
    return this;
  }

  private get buckets() {
    return this.histogram?.buckets ?? [];
  }

  private at(event: PointerEvent): number {
    const box = this.bars.getBoundingClientRect();
    return bucketAt((event.clientX - box.left) / box.width, this.buckets.length);
  }

  private pressed(event: PointerEvent): void {
    if (event.button !== 0 || !this.buckets.length) return;
    // Otherwise dragging would select text.
    event.preventDefault();
    this.bars.focus({ preventScroll: true });
    this.bars.setPointerCapture(event.pointerId);
    this.dragging = true;
    this.from = this.to = this.at(event);
  }

  private moved(event: PointerEvent): void {
    if (this.dragging) this.to = this.at(event);
  }

  private released(): void {
    if (!this.dragging) return;
    this.dragging = false;
    this.choose();
  }

  private cancelled(): void {
    this.dragging = false;
    this.clear();
  }

  private clear(): void {
    this.from = this.to = -1;
  }

  private choose(): void {
    const span = spanOf(this.buckets, this.from, this.to);
    this.clear();
    if (span) this.dispatchEvent(new CustomEvent("range", { detail: span }));
  }

  private keyed(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 };
    const step = steps[event.key];
    if (step !== undefined) this.step(step, event.shiftKey);
    else if (event.key === "Enter" && this.to >= 0) this.choose();
    else if (event.key === "Escape" && this.to >= 0) this.clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private step(by: number, extend: boolean): void {
    const last = this.buckets.length - 1;
    const start = this.to < 0 ? (by < 0 ? last + 1 : -1) : this.to;
    this.to = Math.max(0, Math.min(last, start + by));
    if (!extend || this.from < 0) this.from = this.to;
  }

  private get selectionText(): string {
    const [first, last] = [Math.min(this.from, this.to), Math.max(this.from, this.to)];
    const bucket = this.buckets[last];
    if (!bucket) return plural(this.histogram?.total ?? 0, "event");
    if (first === last) return bucketText(bucket, this.zone);
    const count = this.buckets.slice(first, last + 1).reduce((sum, one) => sum + one.count, 0);
    return `${last - first + 1} bars, ${plural(count, "event")}`;
  }

  protected override render() {
    const { buckets } = this;
    return html`<figure class="histogram" data-testid="histogram">
      <div
        class="bars"
        role="slider"
        tabindex="0"
        aria-label="Events over time. Arrow keys move, Shift extends the selection, Enter filters by it"
        aria-valuemin="0"
        aria-valuemax=${Math.max(buckets.length - 1, 0)}
        aria-valuenow=${Math.max(this.to, 0)}
        aria-valuetext=${this.selectionText}
        @pointerdown=${this.pressed}
        @pointermove=${this.moved}
        @pointerup=${this.released}
        @pointercancel=${this.cancelled}
        @keydown=${this.keyed}
        @blur=${this.clear}
      >
        ${this.chart()}
        ${this.to >= 0 ? html`<span class="bars-chosen" aria-hidden="true">${this.selectionText}</span>` : nothing}
      </div>
      <div class="ticks" aria-hidden="true">${this.labels()}</div>
    </figure>`;
  }

  private chart(): TemplateResult {
    const { buckets } = this;
    const most = buckets.reduce((high, bucket) => Math.max(high, bucket.count), 0);
    const [first, last] = [Math.min(this.from, this.to), Math.max(this.from, this.to)];
    return html`<svg viewBox="0 0 ${Math.max(buckets.length, 1)} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
      ${this.to >= 0
        ? svg`<rect class="bars-range" x=${first} y="0" width=${last - first + 1} height=${HEIGHT} />`
        : nothing}
      ${buckets.map(
        (bucket, x) => svg`<g data-count=${bucket.count} data-start=${bucket.start}>
          <title>${bucketText(bucket, this.zone)}</title>
          <rect class="bar-place" x=${x} y="0" width="1" height=${HEIGHT} />
          ${barParts(bucket, most, HEIGHT - 2).map(
            (part) => svg`<rect class="log-bar ${part.severity}" x=${x + 0.12} width="0.76"
              y=${part.y + 2} height=${part.height} />`,
          )}
        </g>`,
      )}
    </svg>`;
  }

  private labels(): TemplateResult[] {
    const most = matchMedia("(max-width: 700px)").matches ? NARROW_TICKS : TICKS;
    return ticks(this.buckets, most, this.zone).map(
      (tick) => html`<span .style=${`left: ${tick.fraction * 100}%`}>${tick.text}</span>`,
    );
  }
}

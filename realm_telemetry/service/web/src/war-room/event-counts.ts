import { html, nothing, type TemplateResult } from "lit";
import { SEVERITIES, severityMark } from "../shared/catalog";
import { formatCount, formatDuration, plural, shownText, timeMs } from "../shared/format";
import { eventHref, logHref } from "../shared/links";
import type { RealmEvent } from "../stream/event";
import type { RealmState, Receipt } from "./state";
/** The number of events of each severity, each a link to them. */
export function severityPanel(state: RealmState | undefined): TemplateResult {
  const counts = state?.system.counts.by_severity ?? {};
  return html`<section class="severities" aria-label="Events by severity">
    ${SEVERITIES.map(
      (look) => html`<a class="severity-count" href=${logHref({ severity: look.name, range: "all" })}>
        ${severityMark(look.name)} <b>${state ? formatCount(counts[look.name] ?? 0) : "–"}</b>
      </a>`,
    )}
  </section>`;
}

interface ReceiptSum {
  /** Of producers that have reported how many events they emitted, which they do when they end. */
  emitted: number;
  stored: number;
  dropped: number;
  /** Producers that still run, and how many of their events are stored. */
  open: number;
  openStored: number;
  complete: boolean;
}

/** Add up all receipts. */
export function sumReceipts(receipts: readonly Receipt[]): ReceiptSum {
  const sum: ReceiptSum = { emitted: 0, stored: 0, dropped: 0, open: 0, openStored: 0, complete: true };
  for (const one of receipts) {
    sum.dropped += one.dropped;
    if (one.emitted === null) {
      sum.open += 1;
      sum.openStored += one.stored;
    } else {
      sum.emitted += one.emitted;
      sum.stored += one.stored;
      if (!one.complete) sum.complete = false;
    }
  }
  return sum;
}

/** Whether all emitted events are stored; dropped events are an alert. */
export function receiptsLine(receipts: readonly Receipt[]): TemplateResult | typeof nothing {
  const sum = sumReceipts(receipts);
  const text = receiptsText(sum);
  if (sum.dropped) {
    return html`<p class="receipts loud" data-testid="receipts" role="alert">
      <a href=${logHref({ kind: "events_dropped", range: "all" })}>✕ ${plural(sum.dropped, "event was", "events were")} dropped.</a> ${text}
    </p>`;
  }
  if (!text) return nothing;
  const looks = sum.complete ? "soft" : "ink-warning";
  return html`<p class="receipts ${looks}" data-testid="receipts">${text}</p>`;
}

/** "All 1,774 events stored. 1 process still running (40 so far)."; empty if no process is known. */
export function receiptsText({ emitted, stored, dropped, open, openStored, complete }: ReceiptSum): string {
  const missing = Math.max(0, emitted - stored);
  const sentences: string[] = [];
  if (missing || (emitted && !complete && !dropped)) {
    sentences.push(`${formatCount(stored)} of ${plural(emitted, "event")} stored, ${formatCount(missing)} missing.`);
  } else if (emitted) {
    sentences.push(emitted === 1 || dropped ? `${plural(emitted, "event")} stored.` : `All ${formatCount(emitted)} events stored.`);
  }
  if (open) sentences.push(`${plural(open, "process", "processes")} still running (${formatCount(openStored)} so far).`);
  return sentences.join(" ");
}

/** Events that arrived more than a minute late: they are not in the list of the newest. */
export function lateRibbon(late: number, last: RealmEvent | null): TemplateResult | typeof nothing {
  if (!late || !last) return nothing;
  const byS = (Number(last.observed_unix_nano ?? last.time_unix_nano) / 1e6 - timeMs(last)) / 1_000;
  return html`<p class="ribbon" aria-label="Late events">
    <span>${plural(late, "event")} arrived late. The latest came ${formatDuration(byS)} after it happened:</span>
    <a class="clamped" href=${eventHref(last)}>${shownText(last.message.slice(0, 120))}</a>
  </p>`;
}

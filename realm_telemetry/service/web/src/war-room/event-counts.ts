import { html, nothing, type TemplateResult } from "lit";
import { SEVERITIES, severityMark } from "../shared/catalog";
import { formatCount, formatDuration, plural, timeMs } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import { eventHref, logHref } from "./links";
import type { RealmState, Receipt } from "./state";

/** How many events there are of each severity, each a link to them. */
export function severityPanel(state: RealmState | undefined): TemplateResult {
  const counts = state?.system.counts.by_severity ?? {};
  return html`<section class="severities" aria-label="Events by severity">
    ${SEVERITIES.map(
      (look) => html`<a class="severity-count" href=${logHref({ severity: look.name, range: "all" })}>
        ${severityMark(look.name)} <b>${formatCount(counts[look.name] ?? 0)}</b>
      </a>`,
    )}
  </section>`;
}

interface ReceiptSum {
  /** Of producers that have ended and sent how many they emitted. */
  emitted: number;
  stored: number;
  dropped: number;
  /** Producers that still run, and what is stored of theirs. */
  open: number;
  openStored: number;
  complete: boolean;
}

/** All receipts as one line. */
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

/** Whether all that was emitted is stored; what was dropped is said loudly. */
export function receiptsLine(receipts: readonly Receipt[]): TemplateResult {
  const sum = sumReceipts(receipts);
  const running = sum.open ? ` · ${formatCount(sum.openStored)} more of ${plural(sum.open, "process", "processes")} not ended yet` : "";
  const sent = `${formatCount(sum.emitted)} emitted ${sum.emitted === sum.stored ? "=" : "≠"} ${formatCount(sum.stored)} stored`;
  if (sum.dropped) {
    return html`<p class="receipts loud" data-testid="receipts" role="alert">
      <a href=${logHref({ kind: "events_dropped", range: "all" })}>✕ ${plural(sum.dropped, "event was", "events were")} dropped</a>: ${sent}${running}
    </p>`;
  }
  if (!receipts.length) return html`<p class="receipts soft" data-testid="receipts">No producer yet</p>`;
  const word = sum.complete ? "complete" : `${formatCount(Math.max(0, sum.emitted - sum.stored))} still missing`;
  return html`<p class="receipts ${sum.complete ? "soft" : "ink-warning"}" data-testid="receipts">${sent}, ${word}${running}</p>`;
}

/** What came over a minute after its time: not in the list, where it would stand among the newest. */
export function lateRibbon(late: number, last: RealmEvent | null): TemplateResult | typeof nothing {
  if (!late || !last) return nothing;
  const byS = (Number(last.observed_unix_nano ?? last.time_unix_nano) / 1e6 - timeMs(last)) / 1_000;
  return html`<p class="ribbon" aria-label="Late events">
    <span>${plural(late, "event")} arrived late, the last ${formatDuration(byS)} after its time:</span>
    <a class="clamped" href=${eventHref(last)}>${last.message.slice(0, 120)}</a>
  </p>`;
}

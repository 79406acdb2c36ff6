import { html, nothing, type TemplateResult } from "lit";
import { formatDuration, plural, timeMs } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import type { AwayItem } from "./while-away";
import { eventHref } from "./links";
import type { RealmState } from "./state";

/** The titles that heroes have earned, quietly. */
export function guildRibbon(state: RealmState): TemplateResult | typeof nothing {
  const titles = state.guild.titles.slice(0, 6);
  if (!titles.length) return nothing;
  return html`<p class="ribbon guild" aria-label="Titles of the guild">
    🏰 ${titles.map((one) => html`<span><b>${one.title}</b> ${one.hero_id ?? ""}</span>`)}
  </p>`;
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

/** What happened while nobody looked, each a link. */
export function awayStrip(items: readonly AwayItem[], sinceText: string, dismiss: () => void): TemplateResult | typeof nothing {
  if (!items.length) return nothing;
  return html`<section class="away" aria-label="Since you were away">
    <b>Since you were away</b> <span class="soft">(${sinceText})</span>
    ${items.map((item) => html`<a class="ink-${item.severity}" href=${item.href}>${item.text}</a>`)}
    <button class="quiet" @click=${dismiss} aria-label="Dismiss">✕</button>
  </section>`;
}

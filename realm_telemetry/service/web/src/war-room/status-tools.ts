import { html, type TemplateResult } from "lit";
import { formatAge } from "../shared/format";
import { pillWord } from "./connection";
import type { Feed } from "./feed";

export interface StatusView {
  feed: Feed;
  paused: boolean;
  /** Whether something runs that should be heard of every few seconds. */
  expecting: boolean;
  togglePause: () => void;
  writeNote: () => void;
}

/** The page's own tools in the header: whether it is live, how old the news is, pause and note. */
export function statusTools({ feed, paused, expecting, togglePause, writeNote }: StatusView): TemplateResult {
  const age = feed.lastArrivalMs === null ? null : (Date.now() - feed.lastArrivalMs) / 1_000;
  const word = pillWord(feed.status, paused, age, expecting);
  return html`<span class="pill connection ${word.toLowerCase()}" data-testid="status-pill" title="Age of the last event">
      <span class="dot" aria-hidden="true"></span>${word}
      <span class="soft age">${age === null ? "no event yet" : formatAge(age)}</span>
    </span>
    <button data-testid="pause" aria-pressed=${paused} @click=${togglePause}>${paused ? "Resume" : "Pause"}</button>
    <button data-testid="note" @click=${writeNote}>Note</button>`;
}

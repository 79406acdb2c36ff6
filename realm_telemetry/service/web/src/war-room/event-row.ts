import { SEVERITIES, channelIcon } from "../shared/catalog";
import { formatTime, timeMs } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import type { FeedRow } from "./feed";
import { eventHref, logHref } from "./links";

const SHOWN_CHARS = 500;

/** A row of the list. Made by hand: it is put in once and never changes. */
export function makeRow(row: FeedRow): HTMLLIElement {
  return row.type === "event" ? eventRow(row.event) : gapRow(row);
}

function eventRow(event: RealmEvent): HTMLLIElement {
  const row = make("li", `event ${event.severity}`);
  row.dataset["eventId"] = event.id;
  const time = make("time", "", formatTime(new Date(timeMs(event)), { zone: "local" }));
  time.dateTime = time.title = event.timestamp;
  const channel = make("span", "channel", channelIcon(event.channel));
  channel.title = event.channel;
  channel.setAttribute("role", "img");
  channel.setAttribute("aria-label", event.channel);
  const message = make("a", "message", event.message.slice(0, SHOWN_CHARS));
  message.href = eventHref(event);
  row.append(time, channel, severity(event), message);
  return row;
}

function severity(event: RealmEvent): HTMLElement {
  const look = SEVERITIES.find((one) => one.name === event.severity);
  const mark = make("span", `severity ${event.severity}`);
  const icon = make("span", "severity-icon", look?.icon ?? "i");
  icon.setAttribute("aria-hidden", "true");
  mark.append(icon, look?.label ?? event.severity);
  return mark;
}

function gapRow(row: FeedRow & { type: "gap" }): HTMLLIElement {
  const range: Record<string, string> = {};
  if (row.since) range["since"] = row.since;
  if (row.until) range["until"] = row.until;
  const gap = make("li", "gap", `Events between are not in this view (${row.reason.replaceAll("_", " ")}). `);
  gap.dataset["testid"] = "gap-row";
  const link = make("a", "", "Look them up in the Battle Log");
  link.href = logHref(range);
  gap.append(link);
  return gap;
}

function make<K extends keyof HTMLElementTagNameMap>(name: K, classes: string, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  return made;
}

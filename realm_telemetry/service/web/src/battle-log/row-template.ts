import { html, nothing, type TemplateResult } from "lit";
import { channelIcon, severityMark } from "../shared/catalog";
import { sparkline } from "../shared/sparkline";
import { formatTime, timeMs, type Zone } from "../shared/format";
import type { RealmEvent } from "../stream/event";
import { type Group, type Item, groupCount, groupSeries, groupText } from "./row-groups";
import { hitSnippet } from "./snippet";
import { marked } from "./text-search";

/** Of a message a line shows no more than fits any screen; the details have all of it. */
const SHOWN_CHARS = 400;
const SPARK_POINTS = 400;

export interface RowLook {
  zone: Zone;
  phrases: readonly string[][];
}

export function rowContent(item: Item, look: RowLook): TemplateResult {
  if (item.type === "day") return html`<span class="row-day">${item.day}</span>`;
  return item.type === "event" ? eventRow(item.event, look) : groupRow(item.group, look);
}

function eventRow(event: RealmEvent, look: RowLook): TemplateResult {
  const message = event.message.slice(0, SHOWN_CHARS);
  const snippet = hitSnippet(event, look.phrases);
  return html`<time class="row-time mono" datetime=${event.timestamp}
      >${formatTime(new Date(timeMs(event)), { zone: look.zone, millis: true })}</time
    >
    <span class="row-severity">${severityMark(event.severity)}</span>
    <span class="row-channel" title=${event.channel} aria-hidden="true"
      >${channelIcon(event.channel)}</span
    >
    <span class="row-kind mono">${marked(event.kind, look.phrases)}</span>
    <span class="row-message"
      >${event.late ? html`<span class="row-late" title="Arrived over a minute after its time">late</span>` : nothing}<span
        class="row-text"
        >${marked(message, look.phrases)}</span
      >${snippet === null ? nothing : html`<span class="row-snippet mono" title="Where the event has it">${marked(snippet, look.phrases)}</span>`}</span
    >
    <span class="row-owner soft">${marked(event.run_id ?? event.hero_id ?? event.source ?? "", look.phrases)}</span>`;
}

function groupRow(group: Group, look: RowLook): TemplateResult {
  const newest = group.members[0]!;
  const series = groupSeries(group);
  return html`<time class="row-time mono" datetime=${newest.timestamp}
      >${formatTime(new Date(timeMs(newest)), { zone: look.zone, millis: true })}</time
    >
    <span class="row-severity row-fold"
      ><span aria-hidden="true">${group.open ? "▾" : "▸"}</span
      ><span class="visually-hidden">${group.open ? "open group" : "group, Enter opens"}</span></span
    >
    <span class="row-channel" aria-hidden="true">${channelIcon(newest.channel)}</span>
    <span class="row-kind mono">${group.kind}</span>
    <span class="row-message"
      ><strong>${groupCount(group)}</strong> <span class="soft">${groupText(group)}</span>
      ${series ? sparkline(series.values.slice(-SPARK_POINTS), 96, 16) : nothing}</span
    >
    <span class="row-owner soft">${newest.run_id ?? newest.hero_id ?? newest.source ?? ""}</span>`;
}

import { html, nothing, type TemplateResult } from "lit";
import { ref } from "lit/directives/ref.js";
import { channelIcon, severityMark } from "../shared/catalog";
import { formatCount, formatNumber, formatTime, timeMs } from "../shared/format";
import { eventHref, logHref } from "../shared/links";
import { shownText } from "../shared/message";
import { lookOf, statusMark, type RankState, type Run } from "../shared/run";
import type { RealmEvent } from "../stream/event";
import { bytesText } from "./cause-card";
import type { Curve } from "./metrics";
import { FEW_RANKS, rankGrid } from "./rank-grid";
import { eventsOf } from "./story";

/** Of many ranks so many with a problem are rows. */
const LISTED_RANKS = 20;
const BADNESS = { error: 0, warning: 1, info: 2, success: 3 } as const;

/** The processes of a run: those that ended badly first. */
export function ranksPanel(run: Run): TemplateResult | typeof nothing {
  const ranks = Object.entries(run.ranks);
  if (!ranks.length) return nothing;
  const furthest = Math.max(...ranks.map(([, rank]) => rank.step ?? 0));
  const first = run.first_failed_rank === null ? null : String(run.first_failed_rank);
  const order = ([name, rank]: [string, RankState]) => (name === first ? -1 : BADNESS[lookOf(rank.status).severity]);
  ranks.sort((a, b) => order(a) - order(b) || a[0].localeCompare(b[0], undefined, { numeric: true }));
  const isOne = ranks.length === 1;
  const isMany = ranks.length > FEW_RANKS;
  const listed = isMany ? ranks.filter(([name, rank]) => name === first || BADNESS[lookOf(rank.status).severity] < 2).slice(0, LISTED_RANKS) : ranks;
  return html`<section class="card" aria-label="Ranks" data-testid="ranks">
    <div class="card-head"><h2>${isOne ? "Process" : "Ranks"}</h2><span class="soft">${run.health ?? ""}</span></div>
    ${isMany ? rankGrid(run) : nothing}
    ${listed.length ? nothing : html`<p class="soft">No rank has a problem.</p>`}
    <div class="table-scroll" tabindex="0" role="region" aria-label="Table of ranks" ?hidden=${!listed.length}>
      <table class="ranks">
        <thead><tr><th scope="col">Rank</th><th scope="col">Status</th><th scope="col">Last step</th><th scope="col">Host</th></tr></thead>
        <tbody>${listed.map(([name, rank]) => rankRow(name, rank, furthest, run))}</tbody>
      </table>
    </div>
  </section>`;
}

function rankRow(name: string, rank: RankState, furthest: number, run: Run): TemplateResult {
  const behind = rank.step === null ? 0 : furthest - rank.step;
  const isFirst = String(run.first_failed_rank) === name;
  return html`<tr data-rank=${name}>
    <th scope="row" class="mono">${name === rank.producer ? "–" : name}</th>
    <td>
      ${statusMark(rank.status)}${isFirst ? html` <b>first</b>` : nothing}
      ${rank.reason && rank.reason !== run.reason ? html`<p class="soft rank-reason" dir="auto">${rank.reason}</p>` : nothing}
    </td>
    <td>${rank.step === null ? "–" : formatCount(rank.step)}${behind > 0 ? html` <span class="ink-warning">${formatCount(behind)} behind</span>` : nothing}</td>
    <td>${rank.host ?? "–"}</td>
  </tr>`;
}

/** The last lines that a run printed: the newest are in sight. */
export function outputPanel(text: string): TemplateResult | typeof nothing {
  if (!text) return nothing;
  const atEnd = ref((element) => element?.scrollTo(0, element.scrollHeight));
  return html`<section class="card" aria-label="Output" data-testid="output">
    <div class="card-head"><h2>Output</h2><span class="soft">its last lines</span></div>
    <pre class="output" tabindex="0" dir="auto" ${atEnd}>${text}</pre>
  </section>`;
}

/** What the machine had: the last and the most of each of its numbers. */
export function machinePanel(curves: readonly Curve[], samples: readonly RealmEvent[]): TemplateResult | typeof nothing {
  if (!curves.length) return nothing;
  return html`<section class="card" aria-label="Machine" data-testid="machine">
    <h2>Machine</h2>
    <table class="ranks">
      <thead><tr><th scope="col">Of the run</th><th scope="col">Last</th><th scope="col">Least</th><th scope="col">Most</th></tr></thead>
      <tbody>
        ${curves.map((curve) => {
          const text = (value: number | null) => (value === null ? "–" : unitText(curve.name, value));
          return html`<tr><th scope="row">${labelOf(curve.name)}</th><td>${text(curve.last)}</td><td>${text(curve.least)}</td><td>${text(curve.greatest)}</td></tr>`;
        })}
      </tbody>
    </table>
    ${gpuTable(samples)}
  </section>`;
}

const LABELS: Readonly<Record<string, string>> = {
  rss_bytes: "memory of its processes",
  cpu_percent: "processor (100 % is one core)",
  memory_stall_percent: "time waiting for memory",
};

/** "host_memory_bytes" -> "host memory". */
function labelOf(name: string): string {
  return LABELS[name] ?? name.replace(/_(bytes|percent|c|w)$/, "").replaceAll("_", " ");
}

function unitText(name: string, value: number): string {
  if (name.endsWith("_bytes")) return bytesText(value);
  if (name.endsWith("_percent")) return `${formatNumber(value)} %`;
  if (name.endsWith("_c")) return `${formatNumber(value)} °C`;
  return name.endsWith("_w") ? `${formatNumber(value)} W` : formatNumber(value);
}

type Gpu = Record<string, unknown>;

/** GPUs, the most of what the newest samples say. */
function gpuTable(samples: readonly RealmEvent[]): TemplateResult | typeof nothing {
  const peaks = new Map<string, Map<string, number>>();
  for (const { details } of samples) {
    for (const gpu of Array.isArray(details["gpus"]) ? (details["gpus"] as Gpu[]) : []) {
      const index = String(gpu["index"] ?? 0);
      const most = peaks.get(index) ?? new Map<string, number>();
      peaks.set(index, most);
      for (const [name, value] of Object.entries(gpu)) {
        if (typeof value === "number" && name !== "index") most.set(name, Math.max(most.get(name) ?? -Infinity, value));
      }
    }
  }
  if (!peaks.size) return nothing;
  const names = [...new Set([...peaks.values()].flatMap((most) => [...most.keys()]))];
  return html`<h3>GPUs, the most in the newest ${formatCount(samples.length)} samples</h3>
    <div class="table-scroll" tabindex="0" role="region" aria-label="Table of GPUs">
      <table class="ranks">
        <thead><tr><th scope="col">GPU</th>${names.map((name) => html`<th scope="col">${labelOf(name)}</th>`)}</tr></thead>
        <tbody>
          ${[...peaks].map(
            ([index, most]) => html`<tr><th scope="row">${index}</th>${names.map((name) => html`<td>${most.has(name) ? unitText(name, most.get(name)!) : "–"}</td>`)}</tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

/** The newest warnings and errors, and the way to all events. */
export function eventsPanel(run: Run, loud: readonly RealmEvent[]): TemplateResult {
  return html`<section class="card" aria-label="Warnings and errors" data-testid="loud">
    <div class="card-head">
      <h2>Newest warnings and errors</h2>
      <span class="controls"><a href=${logHref({ ...eventsOf(run), range: "all" })}>All ${formatCount(run.counts.events)} events</a></span>
    </div>
    ${loud.length ? nothing : html`<p class="soft">None.</p>`}
    <ul class="loud">
      ${loud.map(
        (event) => html`<li class="loud-event">
          <time class="soft" datetime=${event.timestamp}>${formatTime(new Date(timeMs(event)), { zone: "local", date: true }).slice(5)}</time>
          ${severityMark(event.severity)} <span aria-hidden="true">${channelIcon(event.channel)}</span>
          <a href=${eventHref(event)} dir="auto">${shownText(event.message.slice(0, 400)) || event.kind}</a>
          ${event.rank === null ? nothing : html`<span class="soft">rank ${event.rank}</span>`}
        </li>`,
      )}
    </ul>
  </section>`;
}

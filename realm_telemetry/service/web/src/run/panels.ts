import { html, nothing, type TemplateResult } from "lit";
import { ref } from "lit/directives/ref.js";
import { channelIcon, severityMark } from "../shared/catalog";
import type { Metric } from "../shared/curves";
import { bytesText, formatCount, formatNumber, formatTime, shownText, timeMs } from "../shared/format";
import { term } from "../shared/labels";
import { eventHref, logHref } from "../shared/links";
import { lookOf, type RankState, type Run, statusMark } from "../shared/run";
import type { RealmEvent } from "../stream/event";
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
    <div class="card-head"><h2>${isOne ? "Process" : term("Ranks", "rank")}</h2><span class="soft">${run.health ?? ""}</span></div>
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
  return html`<section class="card" id="output" tabindex="-1" aria-label="Output" data-testid="output">
    <div class="card-head"><h2>Output</h2><span class="soft">its last lines</span></div>
    <pre class="output" tabindex="0" dir="auto" ${atEnd}>${text}</pre>
  </section>`;
}

const LABELS: Readonly<Record<string, string>> = {
  "memory/rss_bytes": "memory of its processes",
  "memory/container_bytes": "memory of its container",
  "memory/host_available_bytes": "memory that the host has left",
  "memory/stall_percent": "time waiting for memory",
  "cpu/percent": "processor (100 % is one core)",
  "cpu/host_percent": "processor of the host",
};
const GPU = /^gpu\/([^/]+)\/(.*)$/;

/** What the machine had: the last, the least and the most of each of its numbers. */
export function machinePanel(metrics: readonly Metric[]): TemplateResult | typeof nothing {
  if (!metrics.length) return nothing;
  const row = ({ name, last, least, greatest }: Metric, label: string) =>
    html`<tr><th scope="row">${label}</th>${[last, least, greatest].map((value) => html`<td>${value === null ? "–" : unitText(name, value)}</td>`)}</tr>`;
  const ranks = metrics[0]!.ranks;
  const ofGpus = metrics.filter(({ name }) => GPU.test(name));
  return html`<section class="card" aria-label="Machine" data-testid="machine">
    <h2>Machine</h2>
    <div class="table-scroll" tabindex="0" role="region" aria-label="Table of the machine">
      <table class="ranks">
        <thead><tr><th scope="col">${ranks.length > 1 ? `Of rank ${ranks[0]}` : "Of the run"}</th><th scope="col">Last</th><th scope="col">Least</th><th scope="col">Most</th></tr></thead>
        <tbody>
          ${metrics.filter((metric) => !ofGpus.includes(metric)).map((metric) => row(metric, LABELS[metric.name] ?? plainLabel(metric.label)))}
          ${ofGpus.map((metric) => row(metric, metric.name.replace(GPU, (_, index: string, label: string) => `GPU ${index}, ${plainLabel(label)}`)))}
        </tbody>
      </table>
    </div>
  </section>`;
}

/** "memory_used_bytes" -> "memory used". */
function plainLabel(name: string): string {
  return name.replace(/_(bytes|percent|c|w)$/, "").replaceAll("_", " ");
}

function unitText(name: string, value: number): string {
  if (name.endsWith("_bytes")) return bytesText(value);
  if (/(_|\/)percent$/.test(name)) return `${formatNumber(value)} %`;
  if (name.endsWith("_c")) return `${formatNumber(value)} °C`;
  return name.endsWith("_w") ? `${formatNumber(value)} W` : formatNumber(value);
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

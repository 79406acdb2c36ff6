import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { apiUrl, getJson } from "../shared/api";
import { type Check, Freshness, type Health, healthText, type Level } from "../shared/connection";
import { bytesText, formatAge, formatCount, formatDuration, formatTime, plural, shownText } from "../shared/format";
import { term } from "../shared/labels";
import { logHref, runHref } from "../shared/links";
import "../shared/page-header";
import { shortcuts } from "../shared/shortcuts";
import { snippet } from "../shared/snippet";

const LOOKS: Record<Level, [icon: string, severity: string, word: string]> = {
  problem: ["✕", "error", "Problem"],
  warning: ["!", "warning", "Warning"],
  ok: ["✓", "success", "Fine"],
};
const HOSTS: Record<string, [icon: string, severity: string, word: string]> = {
  live: ["✓", "success", "Heard"],
  silent: ["!", "warning", "Silent"],
  lost: ["✕", "error", "Lost"],
  away: ["–", "info", "Nothing runs there"],
};
const WORST_FIRST: readonly Level[] = ["problem", "warning", "ok"];

/** Health: whether events arrive, what is wrong on their way, and what to do. */
@customElement("realm-health")
export class RealmHealth extends LitElement {
  @state() private health: Health | null = null;
  private readonly fresh = new Freshness(this, {
    read: async () => void (this.health = await getJson<Health>("api/health")),
    concerns: ({ severity }) => severity === "error" || severity === "warning",
  });
  private stop = () => {};

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.stop = shortcuts(document, [{ key: "?", label: "Show this list", run: () => undefined }]);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stop();
  }

  protected override render() {
    const { health, fresh } = this;
    document.title = titleOf(health, fresh.isDown);
    return html`<realm-header page="health" .tools=${fresh.pill()}></realm-header>
      <main class="health-page">
        ${fresh.isDown ? this.down() : health ? verdict(health) : html`<h1>Service health</h1>`}
        ${fresh.problem && !fresh.isDown ? fresh.notice() : nothing}
        ${health ? html`<div class="health-body ${fresh.isDown ? "is-old" : ""}">${body(health)}</div>` : nothing}
        ${health || fresh.isDown || fresh.problem ? nothing : html`<p class="soft loading">Loading …</p>`}
      </main>`;
  }

  private down(): TemplateResult {
    const { answeredMs } = this.fresh;
    return html`<section class="cause card error" role="alert" data-testid="down">
      <h1 class="cause-reason">The service does not answer</h1>
      <p>Trainings go on: their events wait on disk, and arrive when it is back. Start it where it ran:</p>
      ${snippet("realm up")}
      <p class="soft">If it does not start, <code>realm doctor</code> there says what is wrong.
        ${answeredMs === null ? nothing : html`Below is what was known at <time>${formatTime(new Date(answeredMs), { zone: "local" })}</time>.`}</p>
    </section>`;
  }
}

function titleOf(health: Health | null, isDown: boolean): string {
  if (isDown) return "(✕) Service health";
  const text = health ? healthText(health) : "";
  return `${text ? `(${text}) ` : ""}Service health`;
}

function verdict(health: Health): TemplateResult {
  const [icon, severity] = LOOKS[health.status];
  const text = healthText(health);
  return html`<section class="cause card ${severity}" data-testid="verdict" data-status=${health.status}>
    <h1 class="cause-reason"><span class="ink-${severity}" aria-hidden="true">${icon}</span> ${text ? `The service runs, with ${text}` : "The service runs, and all is well"}</h1>
    <p class="soft">This page is about what brings events here and sends them on. How trainings go is in <a href=${apiUrl("runs")}>Runs</a>.</p>
  </section>`;
}

function body(health: Health): TemplateResult {
  const [wrong, fine] = [health.checks.filter(({ level }) => level !== "ok"), health.checks.filter(({ level }) => level === "ok")];
  wrong.sort((a, b) => WORST_FIRST.indexOf(a.level) - WORST_FIRST.indexOf(b.level));
  return html`${wrong.length ? html`<section class="card" aria-label="What is wrong" data-testid="wrong"><h2>What is wrong, and what to do</h2><ul class="alert-list">${wrong.map(checkRow)}</ul></section>` : nothing}
    <div class="health-columns">${serviceCard(health)} ${logCard(health)} ${receiptsCard(health)}</div>
    ${exportersCard(health)} ${shippersCard(health)} ${hostsCard(health)}
    <details class="card fold-card" data-testid="fine"><summary>${plural(fine.length, "check")} without a problem</summary><ul class="alert-list">${fine.map(checkRow)}</ul></details>`;
}

function mark([icon, severity, word]: readonly [string, string, string]): TemplateResult {
  return html`<span class="severity ${severity}"><span class="severity-icon" aria-hidden="true">${icon}</span>${word}</span>`;
}

function checkRow({ check, level, message, fix }: Check): TemplateResult {
  return html`<li class="health-check" data-check=${check} data-level=${level}>
    <span>${mark(LOOKS[level])}</span>
    <div><p><b>${check}</b> <span dir="auto">${shownText(message)}</span></p>${fix ? html`<p class="soft" dir="auto">${shownText(fix)}${check === "alerts" ? html` <a href=${apiUrl("alerts")}>Open Alerts</a>` : nothing}</p>` : nothing}</div>
  </li>`;
}

/** A path that breaks between its parts. */
function breakable(path: string): TemplateResult {
  return html`${path.split(/(?<=\/)/).map((part) => html`${part}<wbr />`)}`;
}

type Fact = [label: string | TemplateResult, value: string | TemplateResult];

function facts(name: string, title: string | TemplateResult, rows: readonly Fact[], rest: TemplateResult | typeof nothing = nothing): TemplateResult {
  return html`<section class="card" aria-label=${name} data-testid=${name.toLowerCase().replaceAll(" ", "-")}>
    <h2>${title}</h2>
    <dl class="pairs">${rows.map(([label, value]) => html`<div><dt>${label}</dt><dd dir="auto">${value}</dd></div>`)}</dl>
    ${rest}
  </section>`;
}

function serviceCard({ service }: Health): TemplateResult {
  const started = service.started_at === null ? "–" : formatDuration(Math.max(0, (Date.now() - Date.parse(service.started_at)) / 1_000));
  return facts("Service", "Service", [
    ["runs on", service.host],
    ["address", html`<span class="mono">${service.address}</span>`],
    ["version", service.version],
    ["running for", started],
    ["pages and programs that listen", formatCount(service.streams)],
  ]);
}

function logCard({ log }: Health): TemplateResult {
  const limit = log.keeps_bytes === null ? "" : ` of at most ${bytesText(log.keeps_bytes)}`;
  const rows: Fact[] = [
    ["kept in", html`<span class="mono">${breakable(log.place)}</span>`],
    ["size", log.size_bytes === null ? "not known" : `${bytesText(log.size_bytes)}${limit}`],
    ["events are kept", log.keeps_days === null ? "until there is no room" : plural(log.keeps_days, "day")],
    ["last event's number", log.cursor === null ? "not known" : formatCount(log.cursor)],
  ];
  const { disk_free_bytes: free, disk_total_bytes: total } = log;
  if (free !== null && total !== null) rows.push(["free on its disk", html`${bytesText(free)} of ${bytesText(total)} <meter min="0" max=${total} low=${total / 20} value=${free} aria-label="Free on the disk of the log"></meter>`]);
  return facts("Log", "Log: all events", rows);
}

function receiptsCard({ receipts }: Health): TemplateResult {
  if (!receipts) return facts("Receipts", term("Receipts", "receipt"), [["of programs", "not known while the log cannot be read"]]);
  const { producers, live, emitted, stored, stored_so_far, dropped, incomplete } = receipts;
  if (!producers) return facts("Receipts", term("Receipts", "receipt"), [["of programs", "none yet: programs with realm_telemetry have one, events over HTTP have none"]]);
  return facts("Receipts", term("Receipts", "receipt"), [
    ["programs that sent events", `${formatCount(producers)}, ${formatCount(live)} still running`],
    ["from those that ended", `${formatCount(stored)} of ${plural(emitted, "event")} stored`],
    ["from those that run", plural(stored_so_far, "event")],
    ["lack some of theirs", incomplete ? html`<span class="ink-warning">${plural(incomplete, "program")}</span>` : "none"],
    ["dropped", dropped ? html`<a class="ink-warning" href=${logHref({ kind: "events_dropped", range: "all" })}>${plural(dropped, "event")}</a>` : "none"],
  ]);
}

function table(name: string, title: TemplateResult, note: string, heads: readonly string[], rows: readonly TemplateResult[]): TemplateResult {
  return html`<section class="card" aria-label=${name} data-testid=${name.toLowerCase()}>
    <div class="card-head"><h2>${title}</h2><span class="soft">${note}</span></div>
    <div class="table-scroll" tabindex="0" role="region" aria-label="Table of ${name.toLowerCase()}">
      <table class="ranks health-table"><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead><tbody>${rows}</tbody></table>
    </div>
  </section>`;
}

function exportersCard({ exporters }: Health): TemplateResult | typeof nothing {
  if (!exporters.length) return nothing;
  const rows = exporters.map(
    ({ name, of, behind, problem }) => html`<tr data-exporter=${name}>
      <th scope="row" class="mono">${name}</th>
      <td>${of === "service" ? "this service" : of}</td>
      <td>${behind ? html`${plural(behind, "event")} behind` : "all sent"}</td>
      <td class=${problem ? "ink-warning" : "soft"} dir="auto">${problem ? shownText(problem) : "none"}</td>
    </tr>`,
  );
  return table("Exporters", term("Exporters", "exporter"), "send events on to other systems", ["Name", "Of", "Sent", "Problem"], rows);
}

function shippersCard({ shippers }: Health): TemplateResult | typeof nothing {
  if (!shippers.length) return nothing;
  const rows = shippers.map(
    ({ pipeline, running, programs, waiting, dropped, problem }) => html`<tr data-pipeline=${pipeline}>
      <th scope="row" class="mono">${pipeline}</th>
      <td>${running ? "at work" : html`<span class="soft">not needed now</span>`}</td>
      <td>${formatCount(programs)}</td>
      <td>${waiting ? plural(waiting, "event") : "none"}${dropped ? html` <span class="ink-warning">${formatCount(dropped)} dropped</span>` : nothing}</td>
      <td class=${problem ? "ink-warning" : "soft"} dir="auto">${problem ? shownText(problem) : "none"}</td>
    </tr>`,
  );
  return table("Shippers", term("Shippers", "shipper"), "bring the events of this machine's programs into the log", ["Pipeline", "Shipper", "Programs", "Waiting on disk", "Problem"], rows);
}

function hostsCard({ hosts }: Health): TemplateResult | typeof nothing {
  if (!hosts.length) return nothing;
  const rows = hosts.map(
    ({ host, status, age_s, runs }) => html`<tr data-host=${host}>
      <th scope="row" dir="auto">${host}</th>
      <td>${mark(HOSTS[status] ?? HOSTS["away"]!)}</td>
      <td>${formatAge(age_s)}</td>
      <td>${runs.length ? runs.map(({ run_id }, place) => html`${place ? ", " : ""}<a href=${runHref(run_id)} dir="auto">${run_id}</a>`) : html`<span class="soft">none</span>`}</td>
    </tr>`,
  );
  return table("Machines", html`Machines`, "that report to this service", ["Name", "Status", "Last heard", "Runs there"], rows);
}

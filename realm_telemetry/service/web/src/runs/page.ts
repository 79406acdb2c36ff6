import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { apiUrl } from "../shared/api";
import { Freshness } from "../shared/connection";
import { formatCount, plural } from "../shared/format";
import { GLOSSARY } from "../shared/glossary";
import "../shared/page-header";
import { lookOf, STATUSES, type RunSummary } from "../shared/run";
import { shortcuts } from "../shared/shortcuts";
import { howToBegin } from "../shared/snippet";
import { RunList } from "./run-list";
import "./column-choice";
import { lookOfColumn, metricColumn, metricOf, readColumns, remember, shownColumns, USUAL_COLUMNS, writeColumns, type Columns } from "./columns";
import { chosen, COLUMNS, countsOf, sorted, USUAL, WARNINGS, type Order } from "./run-order";
import { runRow } from "./run-row";

/** Drawn at once; more are a click away. */
const STEP_ROWS = 50;
const TICK_MS = 5_000;
/** What the glossary calls some of the columns. */
const WORDS: Readonly<Partial<Record<string, string>>> = { name: "run", checkpoint: "checkpoint", ranks: "rank" };
const MOST_COMPARED = 6;

/** All runs in a table, problems visible at a glance. */
@customElement("realm-runs")
export class RealmRuns extends LitElement {
  @state() private order: Order = USUAL;
  @state() private status = "";
  @state() private warning = "";
  @state() private text = "";
  @state() private most = STEP_ROWS;
  @state() private compared: ReadonlySet<string> = new Set();
  @query("input[type=search]") private search!: HTMLInputElement;
  @state() private columns: Columns = USUAL_COLUMNS;
  private readonly list = new RunList(
    () => this.requestUpdate(),
    () => this.columns.metrics,
  );
  private readonly fresh = new Freshness(this, {
    read: () => this.list.refresh(),
    concerns: (event) => event.run_id !== null || event.channel === "training",
  });
  private readonly stops: (() => void)[] = [];

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.readAddress();
    const ticking = setInterval(() => this.requestUpdate(), TICK_MS);
    this.stops.push(shortcuts(document, this.keys()), () => clearInterval(ticking));
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stops.splice(0).forEach((stop) => stop());
  }

  private keys() {
    return [
      { key: "/", label: "Search", run: () => this.search.focus() },
      { key: "j", label: "Next run", run: () => this.walk(1) },
      { key: "k", label: "Previous run", run: () => this.walk(-1) },
      { key: "Enter", label: "Open the run", run: () => undefined },
      { key: "Escape", shown: "Esc", label: "All runs, in the usual order", run: this.clear },
      { key: "?", label: "Show this list", run: () => undefined },
    ];
  }

  /** Move the focus from one run's link to another. */
  private walk(by: number): void {
    const links = [...this.querySelectorAll<HTMLElement>("a.run-link")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    links[at < 0 ? 0 : Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
  }

  private readonly clear = (): void => {
    this.search.blur();
    this.choose({ status: "", warning: "", text: "", order: USUAL });
  };

  private choose(change: Partial<{ status: string; warning: string; text: string; order: Order }>): void {
    this.status = change.status ?? this.status;
    this.warning = change.warning ?? this.warning;
    this.text = change.text ?? this.text;
    this.order = change.order ?? this.order;
    this.most = STEP_ROWS;
    this.writeAddress();
  }

  private readAddress(): void {
    const params = new URLSearchParams(location.search);
    const column = params.get("sort") ?? "";
    this.columns = readColumns(params);
    this.status = params.get("status") ?? "";
    this.warning = params.get("warning") ?? "";
    this.text = params.get("q") ?? "";
    if (lookOfColumn(column)) this.order = { column, descending: params.get("order") === "desc" };
    // What was remembered is in the address too, so that it can be passed on.
    this.writeAddress();
  }

  /** The address has the choice, so that a link shows others the same. */
  private writeAddress(): void {
    const params = new URLSearchParams();
    if (this.status) params.set("status", this.status);
    if (this.warning) params.set("warning", this.warning);
    if (this.text) params.set("q", this.text);
    if (this.order.column !== USUAL.column) {
      params.set("sort", this.order.column);
      params.set("order", this.order.descending ? "desc" : "asc");
    }
    writeColumns(this.columns, params);
    const search = params.toString();
    history.replaceState(null, "", search ? `?${search}` : location.pathname);
  }

  private show(columns: Columns): void {
    const isNew = columns.metrics.some((name) => !this.columns.metrics.includes(name));
    this.columns = columns;
    remember(columns);
    const sortedBy = metricOf(this.order.column);
    if (sortedBy !== null && !columns.metrics.includes(sortedBy)) this.order = USUAL;
    this.writeAddress();
    if (!isNew) return;
    this.list.beginAgain();
    this.fresh.readNow();
  }

  /** A column is sorted one way, then the other, then as usual. */
  private sortBy(column: string): void {
    const first = lookOfColumn(column)?.descending ?? false;
    const { column: current, descending } = this.order;
    if (current !== column) this.choose({ order: { column, descending: first } });
    else this.choose({ order: descending === first ? { column, descending: !first } : USUAL });
  }

  protected override render() {
    const { runs } = this.list;
    this.titled(runs);
    return html`<realm-header page="runs" .tools=${this.fresh.pill()}></realm-header>
      <main class="runs-page">
        <h1 class="visually-hidden">Runs</h1>
        ${this.fresh.notice()} ${this.list.loaded ? this.body(runs) : this.waiting()}
      </main>`;
  }

  private waiting(): TemplateResult | typeof nothing {
    return this.fresh.isDown || this.fresh.problem ? nothing : html`<p class="soft loading">Loading …</p>`;
  }

  private titled(runs: readonly RunSummary[]): void {
    const counts = countsOf(runs);
    const open = ["stalled", "running"].flatMap((status) => {
      const count = counts.get(status);
      return count ? [`${count} ${status}`] : [];
    });
    document.title = [...open, "Runs"].join(" · ");
  }

  private body(runs: readonly RunSummary[]): TemplateResult {
    if (!runs.length) return emptyRuns();
    const found = sorted(chosen(runs, { status: this.status, warning: this.warning, text: this.text }), this.order, lookOfColumn(this.order.column)?.value);
    return html`${this.controls(runs)}
      <div class="run-line">
        <p class="soft runs-total" role="status" data-testid="runs-total" data-total=${found.length}>
          ${this.totalText(runs, found)}
        </p>
        <span class="run-tools">${this.sortChoice()}
          <realm-column-choice .columns=${this.columns} @change-columns=${(sent: CustomEvent<Columns>) => this.show(sent.detail)}></realm-column-choice></span>
      </div>
      ${found.length ? this.table(found.slice(0, this.most), shownColumns(this.columns, runs)) : this.noMatch()}
      ${found.length > this.most ? this.more(found.length) : nothing} ${this.comparison()}`;
  }

  private totalText(runs: readonly RunSummary[], found: readonly RunSummary[]): string {
    const of = found.length === runs.length ? "" : ` of ${formatCount(runs.length)}`;
    const rest = this.list.isPartial ? " so far; older runs are being read …" : "";
    return `${formatCount(found.length)}${of} ${runs.length === 1 ? "run" : "runs"}${rest}`;
  }

  private controls(runs: readonly RunSummary[]): TemplateResult {
    const counts = countsOf(runs);
    return html`<div class="run-controls">
      <input
        type="search"
        aria-label="Search runs"
        placeholder="Search name, reason, command, host"
        .value=${this.text}
        @input=${(typed: Event) => this.choose({ text: (typed.target as HTMLInputElement).value })}
      />
      <div class="status-filter" role="group" aria-label="Status and warnings">
        ${this.filter("", "All", runs.length)}
        ${Object.keys(STATUSES)
          .filter((status) => counts.has(status) || status === this.status)
          .map((status) => this.filter(status, lookOf(status).label, counts.get(status) ?? 0))}
        ${this.warnings(runs)}
      </div>
    </div>`;
  }

  private warnings(runs: readonly RunSummary[]): TemplateResult[] {
    return Object.entries(WARNINGS)
      .map(([name, { label, meaning, has }]) => ({ name, label, meaning, count: runs.filter(has).length }))
      .filter(({ name, count }) => count || name === this.warning)
      .map(
        ({ name, label, meaning, count }) => html`<button data-warning=${name} title=${meaning} aria-pressed=${this.warning === name} @click=${() => this.choose({ warning: this.warning === name ? "" : name })}>
          <span class="severity warning"><span class="severity-icon" aria-hidden="true">!</span></span> ${label} <b>${formatCount(count)}</b>
        </button>`,
      );
  }

  /** For a narrow screen, which has no headings to click. */
  private sortChoice(): TemplateResult {
    return html`<label class="sort-choice"
      >Sort
      <select @change=${(picked: Event) => this.picked((picked.target as HTMLSelectElement).value)}>
        ${[...Object.keys(COLUMNS), ...this.columns.metrics.map(metricColumn)].map(
          (name) => html`<option value=${name} ?selected=${name === this.order.column}>${lookOfColumn(name)?.label}</option>`,
        )}
      </select>
    </label>`;
  }

  private picked(column: string): void {
    this.choose({ order: { column, descending: lookOfColumn(column)?.descending ?? false } });
  }

  private filter(status: string, label: string, count: number): TemplateResult {
    const look = lookOf(status);
    return html`<button
      data-filter=${status || "all"}
      aria-pressed=${this.status === status}
      @click=${() => this.choose({ status: this.status === status ? "" : status })}
    >
      ${status ? html`<span class="severity ${look.severity}"><span class="severity-icon" aria-hidden="true">${look.icon}</span></span>` : nothing}
      ${label} <b>${formatCount(count)}</b>
    </button>`;
  }

  private table(runs: readonly RunSummary[], columns: readonly string[]): TemplateResult {
    const nowMs = Date.now();
    const isWide = this.columns.metrics.length > 0;
    return html`<div class="runs-scroll ${isWide ? "wide" : ""}" tabindex=${isWide ? 0 : nothing} role=${isWide ? "region" : nothing} aria-label=${isWide ? "Table of runs" : nothing}><table class="runs" role="table">
      <thead role="rowgroup">
        <tr role="row">
          ${columns.map((column) => this.heading(column))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${repeat(
          runs,
          (run) => run.run_id,
          (run) => runRow(run, nowMs, columns, { chosen: this.compared, isFull: this.compared.size >= MOST_COMPARED, toggle: this.toggle }),
        )}
      </tbody>
    </table></div>`;
  }

  private readonly toggle = (id: string): void => {
    const next = new Set(this.compared);
    if (!next.delete(id)) next.add(id);
    this.compared = next;
  };

  private comparison(): TemplateResult | typeof nothing {
    if (!this.compared.size) return nothing;
    const href = apiUrl("compare", new URLSearchParams([...this.compared].map((id) => ["run", id.toWellFormed()])));
    return html`<div class="compare-bar card" role="region" aria-label="Comparison">
      <span>${plural(this.compared.size, "run")} chosen</span>
      ${this.compared.size < 2 ? html`<span class="soft">Choose another, up to ${MOST_COMPARED}.</span>` : html`<a class="button" href=${href}>Compare</a>`}
      <button class="quiet" @click=${() => (this.compared = new Set())}>Clear</button>
    </div>`;
  }

  private heading(column: string): TemplateResult {
    const metric = metricOf(column);
    const label = lookOfColumn(column)?.label ?? column;
    const isSorted = this.order.column === column;
    const direction = this.order.descending ? "descending" : "ascending";
    return html`<th role="columnheader" scope="col" class="run-${metric === null ? column : "metric"}" aria-sort=${isSorted ? direction : nothing}>
      <button class="quiet" title=${metric ?? GLOSSARY[WORDS[column] ?? ""] ?? nothing} @click=${() => this.sortBy(column)}>
        ${metric === null ? label : html`<span class="metric-name" dir="auto">${label}</span>`}${isSorted ? html`<span aria-hidden="true">${this.order.descending ? "▾" : "▴"}</span>` : nothing}
      </button>
    </th>`;
  }

  private noMatch(): TemplateResult {
    return html`<div class="card empty-state">
      <p>No run matches.</p>
      <p><button @click=${this.clear}>Show all runs</button></p>
    </div>`;
  }

  private more(count: number): TemplateResult {
    return html`<p class="more-runs">
      <button @click=${() => (this.most += STEP_ROWS)}>
        Show ${plural(Math.min(STEP_ROWS, count - this.most), "more run", "more runs")}
      </button>
    </p>`;
  }
}

/** What to do where there is no run yet. */
function emptyRuns(): TemplateResult {
  return html`<div class="card empty-runs" data-testid="no-runs">
    <h2>No runs yet</h2>
    ${howToBegin()}
    <p class="soft">A program that calls <code>realm.log({"loss": loss})</code> needs no <code>realm run</code>.</p>
  </div>`;
}

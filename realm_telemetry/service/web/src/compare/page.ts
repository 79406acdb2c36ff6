import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { apiUrl, getEvents } from "../shared/api";
import { Freshness } from "../shared/connection";
import { grouped, valueText } from "../shared/curves";
import { formatCount, formatDuration, plural } from "../shared/format";
import "../shared/graph/line-graph";
import { valueOf, type Axis } from "../shared/graph/plot";
import { runHref } from "../shared/links";
import "../shared/page-header";
import { commandText, isOpen, notFiniteText, numberText, statusMark, stepText, type RunSummary } from "../shared/run";
import { shortcuts } from "../shared/shortcuts";
import { differencesOf } from "../shared/settings";
import { overlaysOf, type Comparison, type Overlay } from "./comparison";

/** More runs than these have too few colours to be told apart. */
const MOST_RUNS = 6;
const POINTS = "500";
const SHOWN = 24;
const SMOOTHINGS = [0, 0.6, 0.9, 0.97] as const;

/** Facts in which runs may differ beside their settings. */
const FACTS: readonly [name: string, text: (run: RunSummary) => string][] = [
  ["Last step", stepText],
  ["Last loss", (run) => numberText(run.loss)],
  ["Best loss", (run) => numberText(run.best_loss)],
  ["NaN or infinite", (run) => notFiniteText(run) || "–"],
  ["Duration", (run) => formatDuration(run.duration_s)],
  ["Hosts", (run) => run.hosts.join(", ") || "–"],
  ["Command", (run) => commandText(run) || "–"],
  ["Commit", (run) => run.git_commit ?? "–"],
];

/** Two to six runs: their curves over each other, and in what they differ. */
@customElement("realm-compare")
export class RealmCompare extends LitElement {
  @state() private axis: Axis = "step";
  @state() private smoothing = 0;
  @state() private most = SHOWN;
  private readonly asked = idsOf(location.search);
  private readonly ids = this.asked.slice(0, MOST_RUNS);
  private found: Comparison | null = null;
  private overlays: readonly Overlay[] = [];
  private version = 0;
  private readonly fresh = new Freshness(this, {
    read: (again) => this.read(again),
    concerns: (event) => this.found?.runs.some((run) => run.run_id === event.run_id && isOpen(run.status)) ?? false,
  });
  private stop = () => {};

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.stop = shortcuts(document, [
      { key: "t", label: "Steps or time since start", run: this.toggleAxis },
      { key: "Escape", shown: "Esc", label: "All runs", run: () => location.assign(apiUrl("runs")) },
      { key: "?", label: "Show this list", run: () => undefined },
    ]);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stop();
  }

  /** Read all of it, unless nothing can have changed. */
  private async read(again: boolean): Promise<void> {
    if (this.ids.length < 2 || (this.found && !this.isOpen && !again)) return;
    const params = new URLSearchParams([...this.ids.map((id) => ["run", id]), ["name", "*"], ["points", POINTS]]);
    this.found = await getEvents<Comparison>("api/compare", params);
    this.overlays = overlaysOf(this.found);
    this.version += 1;
  }

  /** How many runs of the address have no place. */
  private get left(): number {
    return this.asked.length - this.ids.length;
  }

  /** Whether a run goes on, or is still being read. */
  private get isOpen(): boolean {
    return this.found?.runs.some((run) => isOpen(run.status) || run.building !== null) ?? false;
  }

  private readonly toggleAxis = (): void => void (this.axis = this.axis === "step" ? "elapsed" : "step");

  protected override render() {
    document.title = `Compare ${plural(this.ids.length, "run")}`;
    return html`<realm-header page="runs" .tools=${this.fresh.isDown ? this.fresh.pill() : nothing}></realm-header>
      <main class="run-page">
        <h1 class="visually-hidden">Compare runs</h1>
        ${this.fresh.notice()} ${this.ids.length < 2 ? tooFew() : this.body()}
      </main>`;
  }

  private body(): TemplateResult {
    const waiting = this.fresh.isDown || this.fresh.problem ? nothing : html`<p class="soft loading">Loading …</p>`;
    return html`${this.legend()} ${this.left ? html`<p class="notice-line ink-warning" role="status">No more than ${MOST_RUNS} runs are compared; ${this.left} of the address ${this.left === 1 ? "is" : "are"} left out.</p>` : nothing} ${this.found ? html`${this.curves()} ${differences(this.found)}` : waiting}`;
  }

  private legend(): TemplateResult {
    return html`<ul class="legend compare-legend" aria-label="Runs">
      ${this.ids.map((id, index) => {
        const run = this.found?.runs.find(({ run_id }) => run_id === id);
        if (this.found && !run) return missing(id);
        return html`<li class="card"><span class="series-mark series-${index + 1}" aria-hidden="true"></span>
          <a href=${runHref(id)} dir="auto">${id}</a> ${run ? statusMark(run.status) : nothing}</li>`;
      })}
    </ul>`;
  }

  private curves(): TemplateResult {
    const { overlays, most } = this;
    return html`<section class="card metrics" aria-label="Metrics" data-testid="metrics">
      <div class="card-head">
        <h2>Metrics</h2>
        ${this.found?.runs.some((run) => run.building !== null) ? html`<span class="soft" role="status">reading older events …</span>` : nothing}
        <span class="controls">
          <button aria-pressed=${this.axis === "elapsed"} @click=${this.toggleAxis}>Time since start</button>
          <label>Smoothing
            <select @change=${(picked: Event) => (this.smoothing = Number((picked.target as HTMLSelectElement).value))}>
              ${SMOOTHINGS.map((one) => html`<option value=${one}>${one || "off"}</option>`)}
            </select>
          </label>
        </span>
      </div>
      ${overlays.length ? nothing : html`<p class="soft">None of them has reported a number yet.</p>`}
      <div class="small-multiples">
        ${grouped(overlays.slice(0, most)).map(
          ({ heading, members }) => html`${heading ? html`<h3 class="mono">${heading}/</h3>` : nothing}
            ${repeat(members, ({ name }) => name, (overlay) => this.graph(overlay, heading !== ""))}`,
        )}
      </div>
      ${overlays.length > most
        ? html`<p class="more-runs"><button @click=${() => (this.most = Infinity)}>Show ${formatCount(overlays.length - most)} more</button></p>`
        : nothing}
    </section>`;
  }

  private graph({ name, label, hasSteps, lines, last }: Overlay, isHeaded: boolean): TemplateResult {
    const colours = new Map(this.ids.map((id, index) => [id, index]));
    const lasts = last.flatMap((value, index) => (value === null ? [] : [`${this.found?.runs[index]?.run_id}: ${valueText(value)}`]));
    return html`<figure data-metric=${name}>
      <figcaption><b class="mono" dir="auto">${isHeaded ? label : name}</b></figcaption>
      <realm-line-graph role="img" aria-label="Graph of ${name}; last ${lasts.join(", ")}" whole .runs=${lines} .colours=${colours} .pick=${valueOf}
        .axis=${hasSteps ? this.axis : "elapsed"} .smoothing=${this.smoothing} .height=${190} .label=${name} .version=${this.version} .sync=${`compare-${this.axis}`}
        @hover-text=${(sent: CustomEvent<string>) => this.hovered(sent)}></realm-line-graph>
      <p class="soft metric-value"></p>
    </figure>`;
  }

  /** Into the line below the graph, without drawing the page again for each step under the pointer. */
  private hovered(sent: CustomEvent<string>): void {
    const line = (sent.target as HTMLElement).nextElementSibling;
    if (line) line.textContent = sent.detail;
  }
}

function differences(found: Comparison): TemplateResult {
  const { runs } = found;
  const { different, same } = differencesOf(found.config, runs.length);
  const row = (name: string, values: readonly (string | null)[]) =>
    html`<tr><th scope="row" class="mono">${name}</th>${values.map((value) => html`<td class=${value === null ? "soft" : "mono"} dir="auto">${value ?? "not set"}</td>`)}</tr>`;
  return html`<section class="card" aria-label="Differences" data-testid="differences">
    <div class="card-head"><h2>Differences</h2><span class="soft">${same ? `${plural(same, "setting")} the same in all` : ""}</span></div>
    <div class="table-scroll" tabindex="0" role="region" aria-label="Table of differences">
      <table class="ranks">
        <thead><tr><th scope="col">Setting</th>${runs.map((run) => html`<th scope="col" dir="auto">${run.run_id}</th>`)}</tr></thead>
        <tbody>
          ${different.length ? different.map(({ name, values }) => row(name, values)) : html`<tr><td colspan=${runs.length + 1} class="soft">No setting differs.</td></tr>`}
          ${FACTS.map(([name, text]) => ({ name, values: runs.map(text) })).filter(({ values }) => new Set(values).size > 1).map(({ name, values }) => row(name, values))}
        </tbody>
      </table>
    </div>
  </section>`;
}

/** A run that the address names and the log has not: a name misspelt, or of another home. */
function missing(id: string): TemplateResult {
  return html`<li class="card" data-missing=${id}><span class="mono" dir="auto">${id}</span>
    <span class="severity warning"><span class="severity-icon" aria-hidden="true">?</span>There is no such run</span></li>`;
}

function tooFew(): TemplateResult {
  return html`<div class="card empty-runs" data-testid="too-few">
    <h2>Choose two to six runs</h2>
    <p>In <a href=${apiUrl("runs")}>Runs</a>, tick them and choose "Compare".</p>
  </div>`;
}

function idsOf(search: string): string[] {
  return [...new Set(new URLSearchParams(search).getAll("run").filter(Boolean))];
}

import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { hasSteps } from "../run/metrics";
import { RunStory } from "../run/story";
import { apiUrl } from "../shared/api";
import { Freshness } from "../shared/connection";
import { formatCount, formatDuration, plural } from "../shared/format";
import "../shared/graph/line-graph";
import { valueOf, type Axis } from "../shared/graph/plot";
import { RunSeries } from "../shared/graph/run-series";
import { runHref } from "../shared/links";
import "../shared/page-header";
import { commandText, isOpen, notFiniteText, numberText, statusMark, stepText, type Run } from "../shared/run";
import { shortcuts } from "../shared/shortcuts";
import { differencesOf } from "./differences";

/** More runs than these have too few colours to be told apart. */
const MOST_RUNS = 6;
const SHOWN = 24;
const SMOOTHINGS = [0, 0.6, 0.9, 0.97] as const;

/** Facts in which runs may differ beside their settings. */
const FACTS: readonly [name: string, text: (run: Run) => string][] = [
  ["Last step", stepText],
  ["Last loss", (run) => numberText(run.loss)],
  ["Best loss", (run) => numberText(run.best_loss)],
  ["Not finite", (run) => notFiniteText(run) || "–"],
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
  private readonly stories = idsOf(location.search).map((id) => new RunStory(id, () => this.requestUpdate()));
  private readonly fresh = new Freshness(this, {
    read: async () => void (await Promise.all(this.stories.map((story) => story.readToCompare()))),
    concerns: (event) => this.stories.some((story) => story.id === event.run_id && story.run !== null && isOpen(story.run.status)),
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

  private readonly toggleAxis = (): void => void (this.axis = this.axis === "step" ? "elapsed" : "step");

  protected override render() {
    document.title = `Compare ${plural(this.stories.length, "run")}`;
    return html`<realm-header page="runs" .tools=${this.fresh.isDown ? this.fresh.pill() : nothing}></realm-header>
      <main class="run-page">
        <h1 class="visually-hidden">Compare runs</h1>
        ${this.fresh.notice()} ${this.stories.length < 2 ? tooFew() : this.body()}
      </main>`;
  }

  private body(): TemplateResult {
    const missing = this.stories.filter((story) => story.isMissing);
    const loaded = this.stories.filter((story) => story.run !== null);
    return html`${missing.map((story) => html`<p class="notice-line ink-warning" role="alert">There is no run ${story.id}.</p>`)}
      ${this.legend()}
      ${loaded.length < 2 ? (this.fresh.isDown || missing.length ? nothing : html`<p class="soft loading">Loading …</p>`) : html`${this.curves()} ${differences(loaded.map((story) => story.run!))}`}`;
  }

  private legend(): TemplateResult {
    return html`<ul class="legend compare-legend" aria-label="Runs">
      ${this.stories.map(
        ({ id, run }, index) => html`<li class="card"><span class="series-mark series-${index + 1}" aria-hidden="true"></span>
          <a href=${runHref(id)} dir="auto">${id}</a> ${run ? statusMark(run.status) : nothing}</li>`,
      )}
    </ul>`;
  }

  private curves(): TemplateResult {
    const names = [...new Set(this.stories.flatMap((story) => (story.curves ?? []).map((curve) => curve.name)))];
    const colours = new Map(this.stories.map(({ id }, index) => [id, index]));
    return html`<section class="card" aria-label="Metrics" data-testid="metrics">
      <div class="card-head">
        <h2>Metrics</h2>
        <span class="controls">
          <button aria-pressed=${this.axis === "elapsed"} @click=${this.toggleAxis}>Time since start</button>
          <label>Smoothing
            <select @change=${(picked: Event) => (this.smoothing = Number((picked.target as HTMLSelectElement).value))}>
              ${SMOOTHINGS.map((one) => html`<option value=${one}>${one || "off"}</option>`)}
            </select>
          </label>
        </span>
      </div>
      ${names.length ? nothing : html`<p class="soft">None of them has reported a number yet.</p>`}
      <div class="small-multiples">${repeat(names.slice(0, SHOWN), (name) => name, (name) => this.graph(name, colours))}</div>
      ${names.length > SHOWN ? html`<p class="soft">and ${formatCount(names.length - SHOWN)} more, on the pages of the runs</p>` : nothing}
    </section>`;
  }

  private graph(name: string, colours: ReadonlyMap<string, number>): TemplateResult {
    const found = this.stories.flatMap(({ id, run, curves }) => {
      const curve = curves?.find((one) => one.name === name);
      return curve ? [{ id, curve, startMs: Date.parse(run?.started_at ?? "") || curve.series.points[0]!.timeMs }] : [];
    });
    const runs = found.map(({ id, curve, startMs }) => Object.assign(new RunSeries(id), { points: curve.series.points, startMs }));
    const last = found.map(({ id, curve }) => `${id}: ${numberText(Number.isFinite(curve.last) ? curve.last : String(curve.last))}`);
    return html`<figure data-metric=${name}>
      <figcaption><b class="mono" dir="auto">${name}</b></figcaption>
      <realm-line-graph role="img" aria-label="Graph of ${name}; last ${last.join(", ")}" whole .runs=${runs} .colours=${colours} .pick=${valueOf}
        .axis=${found.every(({ curve }) => hasSteps(curve)) ? this.axis : "elapsed"} .smoothing=${this.smoothing} .height=${190} .label=${name} .sync=${`compare-${this.axis}`}
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

function differences(runs: readonly Run[]): TemplateResult {
  const { different, same } = differencesOf(runs.map((run) => run.config));
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

function tooFew(): TemplateResult {
  return html`<div class="card empty-runs" data-testid="too-few">
    <h2>Choose two to six runs</h2>
    <p>In <a href=${apiUrl("runs")}>Runs</a>, tick them and choose "Compare".</p>
  </div>`;
}

function idsOf(search: string): string[] {
  return [...new Set(new URLSearchParams(search).getAll("run").filter(Boolean))].slice(0, MOST_RUNS);
}

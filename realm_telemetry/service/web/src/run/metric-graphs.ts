import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { type Curve, grouped, valueText } from "../shared/curves";
import { formatCount, formatNumber, plural } from "../shared/format";
import { nonFiniteText } from "../shared/graph/graph-marks";
import "../shared/graph/line-graph";
import { type Axis, valueOf } from "../shared/graph/plot";
import { term } from "../shared/labels";
import { aroundHref } from "../shared/links";
import type { RealmEvent } from "../stream/event";
import type { RankChoice } from "./story";

const SHOWN = 24;
const SMOOTHINGS = [0, 0.6, 0.9, 0.97] as const;

/** A small graph of each number of a run, grouped by prefix; one cursor for all. */
@customElement("realm-metric-graphs")
export class MetricGraphs extends LitElement {
  @property({ attribute: false }) curves: readonly Curve[] = [];
  @property({ type: Number }) version = 0;
  @property({ attribute: false }) ranks: readonly number[] = [];
  @property({ attribute: false }) rank: RankChoice = null;
  /** How much of an older run is read so far; null if all is. */
  @property({ attribute: false }) building: number | null = null;
  @state() private axis: Axis = "step";
  @state() private smoothing = 0;
  @state() private most = SHOWN;
  @state() private hovers: ReadonlyMap<string, string> = new Map();

  protected override createRenderRoot() {
    return this;
  }

  protected override render() {
    const hidden = this.curves.length - this.most;
    return html`<section class="card metrics" aria-label="Metrics" data-testid="metrics">
      <div class="card-head"><h2>Metrics</h2>${this.building === null ? nothing : html`<span class="soft" role="status">reading older events: ${Math.round(100 * this.building)} %</span>`}${this.curves.length ? this.controls() : nothing}</div>
      ${this.curves.length ? nothing : html`<p class="soft">It has reported no numbers yet.</p>`}
      <div class="small-multiples">
        ${grouped(this.curves.slice(0, this.most)).map(
          ({ heading, members }) => html`${heading ? html`<h3 class="mono">${heading}/</h3>` : nothing}
            ${repeat(
              members,
              ({ name }) => name,
              (curve) => this.graph(curve, heading !== ""),
            )}`,
        )}
      </div>
      ${hidden > 0
        ? html`<p class="more-runs"><button @click=${() => (this.most = Infinity)}>Show ${plural(hidden, "more metric")}</button></p>`
        : nothing}
    </section>`;
  }

  private controls(): TemplateResult {
    return html`<span class="controls">
      ${this.ranks.length > 1 ? this.rankChoice() : nothing}
      <button aria-pressed=${this.axis === "time"} @click=${() => (this.axis = this.axis === "step" ? "time" : "step")} title="Over the time of day in place of steps">By time</button>
      <label
        >Smoothing
        <select @change=${(picked: Event) => (this.smoothing = Number((picked.target as HTMLSelectElement).value))}>
          ${SMOOTHINGS.map((one) => html`<option value=${one}>${one || "off"}</option>`)}
        </select>
      </label>
    </span>`;
  }

  /** Sends `rank` with the chosen one, or "all". */
  private rankChoice(): TemplateResult {
    const chosen = this.rank ?? this.ranks[0];
    const send = (picked: Event) => {
      const { value } = picked.target as HTMLSelectElement;
      this.dispatchEvent(new CustomEvent<RankChoice>("rank", { detail: value === "all" ? value : Number(value) }));
    };
    return html`<label>${term("Rank")} <select @change=${send}>
      ${[...this.ranks, "all" as const].map((rank) => html`<option value=${rank} ?selected=${rank === chosen}>${rank}</option>`)}
    </select></label>`;
  }

  private graph(curve: Curve, isHeaded: boolean): TemplateResult {
    const { name } = curve;
    const bad = curve.notFinite;
    return html`<figure data-metric=${name}>
      <figcaption>
        <b class="mono" dir="auto">${isHeaded ? curve.label : name}</b>
        ${this.hovers.get(name) || !bad ? html`<span class="soft metric-value">${this.hovers.get(name) || valueText(curve.last)}</span>` : nothing}
        ${bad ? html`<span class="ink-error not-finite">${badText(bad)}</span>` : nothing}
      </figcaption>
      <realm-line-graph
        role="img"
        aria-label="Graph of ${name}: last ${valueText(curve.last)}, least ${rangeText(curve.least)}, greatest ${rangeText(curve.greatest)}${bad ? `, ${badText(bad)}` : ""}"
        whole
        .runs=${curve.series}
        .pick=${valueOf}
        .axis=${curve.hasSteps ? this.axis : "time"}
        .smoothing=${this.smoothing}
        .height=${150}
        .version=${this.version}
        .label=${name}
        .sync=${curve.hasSteps ? "run" : ""}
        @hover-text=${(sent: CustomEvent<string>) => this.hovered(name, sent.detail)}
        @pick-time=${(sent: CustomEvent<{ timeMs: number; event: RealmEvent | null }>) => location.assign(aroundHref(sent.detail.timeMs, sent.detail.event))}
      ></realm-line-graph>
    </figure>`;
  }

  private hovered(name: string, text: string): void {
    // The name stands before it already.
    const value = text.replace(` · ${name} `, ": ");
    if (this.hovers.get(name) !== value) this.hovers = new Map([...this.hovers, [name, value]]);
  }
}

function rangeText(value: number | null): string {
  return value === null ? "none" : formatNumber(value);
}

/** "NaN from step 60". */
function badText({ step, value }: { step: number | null; value: number }): string {
  return step === null ? `${nonFiniteText(value)} seen` : `${nonFiniteText(value)} from step ${formatCount(step)}`;
}

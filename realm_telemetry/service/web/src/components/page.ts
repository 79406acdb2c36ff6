import { html, LitElement, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { causeCard } from "../run/cause-card";
import { ranksPanel } from "../run/panels";
import { timelinePanel } from "../run/timeline";
import { SEVERITIES, severityMark } from "../shared/catalog";
import "../shared/graph/line-graph";
import { valueOf } from "../shared/graph/plot";
import "../shared/page-header";
import { statusMark, STATUSES } from "../shared/run";
import { snippet } from "../shared/snippet";
import { sparkline } from "../shared/sparkline";
import { term } from "../shared/term";
import { say } from "../shared/toast";
import { tracebackCard } from "../shared/traceback-card";
import "./components.css";
import { CURVES, EVENTS, FAILED, MANY_RANKS, NOW_MS } from "./samples";

/** Colours of docs/pages-components.md, in its order. */
const COLOURS = [
  "paper", "card", "raised", "hover", "selected", "line", "line-strong", "ink", "soft", "accent", "on-accent", "info", "success", "warning",
  "error", "error-wash", "warning-wash", "mark", "series-1", "series-2", "series-3", "series-4", "series-5", "series-6",
] as const;

/** What the pages are made of, one below the other: for contributors, `make pages-dev`. It is in no build. */
@customElement("realm-components")
export class RealmComponents extends LitElement {
  protected override createRenderRoot() {
    return this;
  }

  protected override render() {
    return html`<realm-header page="war-room"></realm-header>
      <main class="run-page">
        <h1>Components</h1>
        ${part("Colours", html`<ul class="swatches">${COLOURS.map((name) => html`<li><span class="swatch" .style=${`background: var(--${name})`}></span><code>--${name}</code></li>`)}</ul>`)}
        ${part("Severities", html`${SEVERITIES.map(({ name }) => html`<p>${severityMark(name)}</p>`)}`)}
        ${part("Statuses of a run", html`${Object.keys(STATUSES).map((status) => html`<p>${statusMark(status)} <span class="soft">${STATUSES[status]!.meaning}</span></p>`)}`)}
        ${part(
          "Buttons and fields",
          html`<p class="cause-tools">
            <button>Button</button> <button class="primary">Primary</button> <button class="quiet">Quiet</button> <button aria-pressed="true">Pressed</button>
            <button disabled>Disabled</button> <a class="button" href="components.html">Link</a> <input aria-label="Field" placeholder="Field" />
            <select aria-label="Choice"><option>Choice</option></select> <button @click=${() => say("Something was done")}>Toast</button>
          </p>`,
        )}
        ${part("Words and text", html`<p>A ${term("rank")} is explained. <span class="soft">Soft text.</span> <span class="mono">mono 0123</span> <kbd>j</kbd> <mark>found</mark></p>`)}
        ${part("Pills", html`<p>${["live", "connecting", "reconnecting", "paused", "stale"].map((word) => html`<span class="pill connection ${word}"><span class="dot" aria-hidden="true"></span>${word}</span> `)}</p>`)}
        ${part("Line to copy", snippet("realm run -- python train.py"))}
        ${part("Sparkline", html`${sparkline([3, 2, 1.4, 1.1, 1, 0.95, 0.9])}`)}
        ${part(
          "Graph",
          html`<realm-line-graph role="img" aria-label="Graph of a loss" whole .runs=${CURVES} .pick=${valueOf} .height=${180} .label=${"loss"}></realm-line-graph>`,
        )}
        <h2>Cause card</h2>
        ${causeCard(FAILED, NOW_MS, html`<button>Copy report</button>`)}
        <h2>Traceback card</h2>
        ${tracebackCard(FAILED.exception!)}
        <h2>Timeline</h2>
        ${timelinePanel(FAILED, EVENTS, NOW_MS)}
        <h2>Ranks</h2>
        ${ranksPanel(MANY_RANKS)}
      </main>`;
  }
}

function part(name: string, content: TemplateResult): TemplateResult {
  return html`<section class="card" aria-label=${name}><h2>${name}</h2>${content}</section>`;
}

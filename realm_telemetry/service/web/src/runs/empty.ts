import { html, type TemplateResult } from "lit";
import { howToBegin } from "../shared/snippet";

/** What to do where there is no run yet. */
export function emptyRuns(): TemplateResult {
  return html`<div class="card empty-runs" data-testid="no-runs">
    <h2>No runs yet</h2>
    ${howToBegin()}
    <p class="soft">A program that calls <code>realm.log({"loss": loss})</code> needs no <code>realm run</code>.</p>
  </div>`;
}

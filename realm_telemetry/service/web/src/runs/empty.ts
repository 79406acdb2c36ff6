import { html, type TemplateResult } from "lit";
import { apiUrl } from "../shared/api";
import { copy } from "../shared/toast";

/** What to do where there is no run yet: with the address of this very service. */
export function emptyRuns(): TemplateResult {
  const address = apiUrl("").replace(/\/$/, "");
  const command = "realm run -- python train.py";
  const elsewhere = `REALM_SERVICE_URL=${address} ${command}`;
  return html`<div class="card empty-runs" data-testid="no-runs">
    <h2>No runs yet</h2>
    <p>Start any training below <code>realm run</code>, and it is listed here by itself:</p>
    ${snippet(command)}
    <p>${isLocal(location.hostname) ? "With another home" : "From another machine"}, name this service:</p>
    ${snippet(elsewhere)}
    <p class="soft">A program that calls <code>realm.log({"loss": loss})</code> needs no <code>realm run</code>.</p>
  </div>`;
}

/** Whether an address reaches this service on its own machine only. */
function isLocal(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

function snippet(text: string): TemplateResult {
  return html`<p class="snippet">
    <code>${text}</code> <button aria-label="Copy: ${text}" @click=${() => copy(text, "Command")}>Copy</button>
  </p>`;
}

import { html, type TemplateResult } from "lit";
import { apiUrl } from "./api";
import { copy } from "./toast";

/** How a training anywhere gets into this very log: a command here, and one with the address of this service. */
export function howToBegin(): TemplateResult {
  const address = apiUrl("").replace(/\/$/, "");
  const command = "realm run -- python train.py";
  return html`<p>Put <code>realm run --</code> in front of the command of any training, and it appears here by itself:</p>
    ${snippet(command)}
    <p>${isLocal(location.hostname) ? "Where a training keeps its data in another directory (REALM_HOME)" : "On another machine"}, name this service too:</p>
    ${snippet(`REALM_SERVICE_URL=${address} ${command}`)}`;
}

/** Whether an address reaches this service on its own machine only. */
function isLocal(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

/** A line to copy. what: what it is, for the message that it was copied. */
export function snippet(text: string, what = "Command"): TemplateResult {
  return html`<p class="snippet">
    <code>${text.split(" ").map((word, place) => html`${place ? " " : ""}<span class="word">${word}</span>`)}</code> <button aria-label="Copy: ${text}" @click=${() => copy(text, what)}>Copy</button>
  </p>`;
}

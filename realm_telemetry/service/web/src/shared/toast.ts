import { LitElement, html } from "lit";
import { customElement, state } from "lit/decorators.js";

const SHOWN_MS = 4_000;

/** The page's only polite live region: short messages about what was done. */
@customElement("realm-toast")
export class RealmToast extends LitElement {
  @state() private text = "";
  private timer: ReturnType<typeof setTimeout> | undefined;

  protected override createRenderRoot() {
    return this;
  }

  show(text: string): void {
    this.text = text;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.text = ""), SHOWN_MS);
  }

  protected override render() {
    return html`<div class="toast ${this.text ? "shown" : ""}" role="status" aria-live="polite">
      ${this.text}
    </div>`;
  }
}

/** Show a message in the live region; before the header exists it is dropped. */
export function say(text: string): void {
  document.querySelector<RealmToast>("realm-toast")?.show(text);
}

/** Copy a text to the clipboard and show a message. */
export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    say("The browser blocked copying: it needs HTTPS or localhost");
  }
}

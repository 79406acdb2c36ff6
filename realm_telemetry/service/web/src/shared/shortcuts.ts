import { LitElement, html } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import { GLOSSARY } from "./glossary";

/** key: as in KeyboardEvent.key. shown: the name in the list of keys, if it differs. */
export interface Shortcut {
  key: string;
  label: string;
  run: (event: KeyboardEvent) => void;
  shown?: string;
}

const TYPING = "input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]";

/** Listen for single keys, except while the user types; returns a function that stops it. */
export function shortcuts(target: EventTarget, table: readonly Shortcut[]): () => void {
  const pressed = (event: Event) => {
    const key = event as KeyboardEvent;
    if (key.defaultPrevented || key.ctrlKey || key.metaKey || key.altKey) return;
    // An open dialog gets the keys itself, above all Escape.
    if (document.querySelector("dialog[open]")) return;
    const where = key.target as Element | null;
    if (key.key === "?" && !where?.matches?.(TYPING)) return show(table);
    const found = table.find((one) => one.key === key.key);
    if (!found || (where?.matches?.(TYPING) && key.key !== "Escape")) return;
    // Space and Enter activate the focused control.
    const control = where?.closest?.("button, a, summary, [role=button], [role=switch]");
    if (control && (key.key === " " || key.key === "Enter")) return;
    key.preventDefault();
    found.run(key);
  };
  target.addEventListener("keydown", pressed);
  shown = table;
  return () => target.removeEventListener("keydown", pressed);
}

let shown: readonly Shortcut[] = [];

/** Show the list of keys and words of the page. */
export function showHelp(): void {
  show(shown);
}

function show(table: readonly Shortcut[]): void {
  document.querySelector<RealmShortcuts>("realm-shortcuts")?.open(table);
}

/** The keyboard shortcuts and the words of the pages, opened by `?`. */
@customElement("realm-shortcuts")
export class RealmShortcuts extends LitElement {
  @property({ attribute: false }) table: readonly Shortcut[] = [];
  @query("dialog") private dialog!: HTMLDialogElement;

  protected override createRenderRoot() {
    return this;
  }

  open(table: readonly Shortcut[]): void {
    this.table = table;
    if (!this.dialog.open) this.dialog.showModal();
  }

  protected override render() {
    return html`<dialog class="shortcuts" aria-label="Keyboard shortcuts and words">
      <form method="dialog">
        <header><h2>Keyboard shortcuts</h2> <button>Close</button></header>
        <dl>
          ${this.table.map(
            (one) => html`<div>
              <dt><kbd>${one.shown ?? (one.key === " " ? "Space" : one.key)}</kbd></dt>
              <dd>${one.label}</dd>
            </div>`,
          )}
        </dl>
        <h2>Words</h2>
        <dl class="words">
          ${Object.entries(GLOSSARY).map(([word, meaning]) => html`<div><dt>${word}</dt><dd>${meaning}</dd></div>`)}
        </dl>
      </form>
    </dialog>`;
  }
}

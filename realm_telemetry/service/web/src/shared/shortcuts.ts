import { LitElement, html } from "lit";
import { customElement, property, query } from "lit/decorators.js";

/** key: as KeyboardEvent.key. shown: how it is written in the list, if otherwise. */
export interface Shortcut {
  key: string;
  label: string;
  run: (event: KeyboardEvent) => void;
  shown?: string;
}

const TYPING = "input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]";

/** Listen for single keys, but not while somebody types; returns how to stop. */
export function shortcuts(target: EventTarget, table: readonly Shortcut[]): () => void {
  const pressed = (event: Event) => {
    const key = event as KeyboardEvent;
    if (key.defaultPrevented || key.ctrlKey || key.metaKey || key.altKey) return;
    // An open dialog has the keys, first of all Escape.
    if (document.querySelector("dialog[open]")) return;
    const where = key.target as Element | null;
    if (key.key === "?" && !where?.matches?.(TYPING)) return show(table);
    const found = table.find((one) => one.key === key.key);
    if (!found || (where?.matches?.(TYPING) && key.key !== "Escape")) return;
    // Space and Enter belong to the control that has the focus.
    const control = where?.closest?.("button, a, summary, [role=button], [role=switch]");
    if (control && (key.key === " " || key.key === "Enter")) return;
    key.preventDefault();
    found.run(key);
  };
  target.addEventListener("keydown", pressed);
  return () => target.removeEventListener("keydown", pressed);
}

function show(table: readonly Shortcut[]): void {
  document.querySelector<RealmShortcuts>("realm-shortcuts")?.open(table);
}

/** The list of keys, opened by `?`. */
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
    return html`<dialog class="shortcuts" aria-label="Keyboard shortcuts">
      <form method="dialog">
        <h2>Keyboard shortcuts</h2>
        <dl>
          ${this.table.map(
            (one) => html`<div>
              <dt><kbd>${one.shown ?? (one.key === " " ? "Space" : one.key)}</kbd></dt>
              <dd>${one.label}</dd>
            </div>`,
          )}
        </dl>
        <button>Close</button>
      </form>
    </dialog>`;
  }
}

import { LitElement, html } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { ApiError, postNote, type NoteFields } from "../shared/api";
import { say } from "../shared/toast";

/** The form for a note: it is stored in the log and pinned to the graph. */
@customElement("realm-note-dialog")
export class NoteDialog extends LitElement {
  @query("dialog") private dialog!: HTMLDialogElement;
  @query("textarea") private text!: HTMLTextAreaElement;
  @state() private problem = "";
  private fields: NoteFields = {};

  protected override createRenderRoot() {
    return this;
  }

  open(fields: NoteFields): void {
    this.fields = fields;
    this.problem = "";
    this.dialog.showModal();
    this.text.focus();
  }

  private async submit(submitted: SubmitEvent): Promise<void> {
    submitted.preventDefault();
    const message = this.text.value.trim();
    if (!message) return this.dialog.close();
    try {
      await postNote(message, this.fields);
      this.text.value = "";
      this.dialog.close();
      say("Note saved");
    } catch (error) {
      this.problem = error instanceof ApiError ? `${error.message} ${error.hint}` : String(error);
    }
  }

  protected override render() {
    return html`<dialog class="note-dialog" aria-label="Add a note">
      <form @submit=${this.submit}>
        <label for="note-text">Note for this point of the run</label>
        <textarea id="note-text" rows="3" maxlength="2000"></textarea>
        ${this.problem ? html`<p class="ink-error" role="alert">${this.problem}</p>` : ""}
        <div class="dialog-buttons">
          <button type="button" @click=${() => this.dialog.close()}>Cancel</button>
          <button class="primary">Save note</button>
        </div>
      </form>
    </dialog>`;
  }
}

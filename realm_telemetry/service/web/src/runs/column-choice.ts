import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { Asking } from "../shared/connection";
import { getRuns } from "../shared/run";
import { HIDEABLE, MOST_METRICS, USUAL_COLUMNS, type Columns } from "./columns";
import { COLUMNS, wordsOf } from "./run-order";

/** Runs whose numbers are offered; any other name can be typed. */
const LOOKED_AT = "100";
const LISTED = 40;

/** Which columns the list of runs has: those that are always there, and any number. Sends `change-columns` with Columns. */
@customElement("realm-column-choice")
export class RealmColumnChoice extends LitElement {
  @property({ attribute: false }) columns: Columns = USUAL_COLUMNS;
  @state() private known: readonly string[] | null = null;
  @state() private problem = "";
  private readonly asking = new Asking();
  @state() private text = "";

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("click", this.closeOutside);
    // Before the keys of the page, where Escape means something else.
    document.addEventListener("keydown", this.pressed, true);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener("click", this.closeOutside);
    document.removeEventListener("keydown", this.pressed, true);
  }

  private readonly closeOutside = (event: Event): void => {
    // What was clicked may have been drawn anew since; the path has it as it was.
    if (!event.composedPath().includes(this)) this.close();
  };

  private close(): void {
    this.querySelector("details")?.removeAttribute("open");
  }

  private send(change: Partial<{ hidden: ReadonlySet<string>; metrics: readonly string[] }>): void {
    this.dispatchEvent(new CustomEvent<Columns>("change-columns", { detail: { ...this.columns, ...change } }));
  }

  private toggle(column: string): void {
    const hidden = new Set(this.columns.hidden);
    if (!hidden.delete(column)) hidden.add(column);
    this.send({ hidden });
  }

  private toggleMetric(name: string): void {
    const { metrics } = this.columns;
    this.send({ metrics: metrics.includes(name) ? metrics.filter((one) => one !== name) : [...metrics, name].slice(0, MOST_METRICS) });
  }

  private async opened(event: Event): Promise<void> {
    if (!(event.target as HTMLDetailsElement).open) return this.asking.stop();
    const found = await this.asking.until(
      () => getRuns({ limit: LOOKED_AT, metric: "*" }),
      (error) => (this.problem = error.message),
    );
    if (!found) return;
    this.known = [...new Set(found.runs.flatMap((run) => Object.keys(run.metrics ?? {})))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    this.problem = "";
  }

  private readonly pressed = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !this.querySelector("details")?.open) return;
    event.preventDefault();
    event.stopPropagation();
    this.close();
    this.querySelector("summary")?.focus();
  };

  protected override render() {
    return html`<details class="column-choice" @toggle=${(event: Event) => void this.opened(event)}>
      <summary class="button">Columns</summary>
      <div class="card column-panel">
        <fieldset>
          <legend>Columns</legend>
          ${HIDEABLE.map((column) => this.box(COLUMNS[column].label, !this.columns.hidden.has(column), () => this.toggle(column)))}
        </fieldset>
        <fieldset>
          <legend>Last value of a number</legend>
          ${this.numbers()}
        </fieldset>
      </div>
    </details>`;
  }

  private numbers(): TemplateResult {
    const { metrics } = this.columns;
    const isFull = metrics.length >= MOST_METRICS;
    const words = wordsOf(this.text);
    const others = (this.known ?? []).filter((name) => !metrics.includes(name) && words.every((word) => name.toLowerCase().includes(word)));
    return html`<input type="search" aria-label="Search numbers" placeholder="Search, or type a name" .value=${this.text} ?disabled=${isFull}
        @input=${(typed: Event) => (this.text = (typed.target as HTMLInputElement).value)}
        @keydown=${(event: KeyboardEvent) => event.key === "Enter" && this.add()} />
      ${metrics.map((name) => this.box(name, true, () => this.toggleMetric(name)))}
      ${others.slice(0, LISTED).map((name) => this.box(name, false, () => this.toggleMetric(name), isFull))}
      ${this.line(others.length)} ${this.isNew ? html`<button @click=${() => this.add()}>Add “${this.text.trim()}”</button>` : nothing}`;
  }

  private line(others: number): TemplateResult | typeof nothing {
    const said = (text: string) => html`<p class="soft" role="status">${text}</p>`;
    if (this.problem) return said(this.problem);
    if (this.known === null) return said("Loading …");
    if (this.columns.metrics.length >= MOST_METRICS) return said(`No more than ${MOST_METRICS}.`);
    if (others > LISTED) return said(`and ${others - LISTED} more: search`);
    return others || this.text.trim() || this.columns.metrics.length ? nothing : said("The newest runs have reported none.");
  }

  /** Whether the typed name is none of those that are listed. */
  private get isNew(): boolean {
    const name = this.text.trim();
    return name !== "" && name !== "*" && this.columns.metrics.length < MOST_METRICS && !this.columns.metrics.includes(name) && !this.known?.includes(name);
  }

  /** Choose what is typed. */
  private add(): void {
    const name = this.text.trim();
    if (!this.isNew && !this.known?.includes(name)) return;
    this.text = "";
    this.querySelector<HTMLElement>("input[type=search]")?.focus();
    if (!this.columns.metrics.includes(name)) this.toggleMetric(name);
  }

  private box(label: string, isChecked: boolean, toggle: () => void, isOff = false): TemplateResult {
    return html`<label><input type="checkbox" .checked=${isChecked} ?disabled=${isOff} @change=${toggle} /> <span dir="auto">${label}</span></label>`;
  }
}

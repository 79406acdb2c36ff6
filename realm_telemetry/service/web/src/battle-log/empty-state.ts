import { LitElement, html, nothing, type PropertyValues } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { getPage } from "../shared/api";
import { plural } from "../shared/format";
import { type Place, dataKey, readPlace } from "./address";
import { apiParams, resolveRange } from "./time-range";
import { type Removal, allRemovals } from "./active-filters";

interface Answer extends Removal {
  count: number;
  relation: "eq" | "gte";
}

/** Nothing matches: says which one filter, removed, gives how many. Sends `change-place`. */
@customElement("realm-empty")
export class RealmEmpty extends LitElement {
  @property({ attribute: false }) place!: Place;
  @state() private answers: Answer[] | null = null;
  private asked = "";

  protected override createRenderRoot() {
    return this;
  }

  protected override willUpdate(changes: PropertyValues): void {
    if (!changes.has("place") || dataKey(this.place) === this.asked) return;
    this.asked = dataKey(this.place);
    this.answers = null;
    void this.ask(this.asked);
  }

  private async ask(key: string): Promise<void> {
    const found = await Promise.all(allRemovals(this.place).map(countWithout));
    if (key !== this.asked) return;
    this.answers = found
      .filter((one): one is Answer => one !== null && one.count > 0)
      .sort((a, b) => b.count - a.count);
  }

  protected override render() {
    return html`<div class="state" data-testid="empty">
      <h2>No event matches</h2>
      ${this.answers === null
        ? html`<p class="soft">Looking for the filter that leaves them out …</p>`
        : this.answers.length
          ? html`<p class="soft">Without one of these there would be some:</p>`
          : html`<p class="soft">No single filter, removed, would find any.</p>
            <button @click=${() => this.leave(readPlace("?range=all"))}>Show everything</button>`}
      <ul class="removals">
        ${this.answers?.map(
          (one) => html`<li>
            <button @click=${() => this.leave(one.without)}>
              <span class="removal-label">Without ${one.label}</span>
              <strong>${plural(one.count, "event")}${one.relation === "gte" ? " or more" : nothing}</strong>
            </button>
          </li>`,
        )}
      </ul>
    </div>`;
  }

  private leave(place: Place): void {
    this.dispatchEvent(new CustomEvent("change-place", { detail: { place } }));
  }
}

async function countWithout(removal: Removal): Promise<Answer | null> {
  const { without } = removal;
  const params = apiParams(without, resolveRange(without.range, new Date(), without.zone));
  params.set("limit", "1");
  if (without.asOf !== null) params.set("as_of", String(without.asOf));
  try {
    const { total, relation } = await getPage(params);
    return { ...removal, count: total, relation };
  } catch {
    return null; // The page itself tells what is wrong with the service.
  }
}

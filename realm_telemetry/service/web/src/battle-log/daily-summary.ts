import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { ref } from "lit/directives/ref.js";
import { type ApiError, getJson } from "../shared/api";
import { Asking, wayOut } from "../shared/connection";
import { channelIcon, CHANNELS } from "../shared/catalog";
import { formatCount, plural } from "../shared/format";
import { EMPTY_QUERY, type Address, withList } from "./address";

const DAYS = [7, 14, 30] as const;

/** `api/battle_log/summary?by=channel,severity,day`. */
interface SummaryRow {
  channel: string;
  severity: string;
  day: string;
  count: number;
}

interface DayCell {
  day: string;
  count: number;
  errors: number;
}

interface ChannelDays {
  channel: string;
  /** One for each of the days, oldest first. */
  days: DayCell[];
  total: number;
}

/** Counts by channel and day: channels in the given order, each with all days. */
export function dailyCounts(
  rows: readonly SummaryRow[],
  channels: readonly string[],
  days: readonly string[],
): ChannelDays[] {
  const cells = new Map<string, DayCell>();
  for (const { channel, severity, day, count } of rows) {
    const cell = cells.get(`${channel} ${day}`) ?? { day, count: 0, errors: 0 };
    cell.count += count;
    if (severity === "error") cell.errors += count;
    cells.set(`${channel} ${day}`, cell);
  }
  return channels.map((channel) => {
    const of = days.map((day) => cells.get(`${channel} ${day}`) ?? { day, count: 0, errors: 0 });
    return { channel, days: of, total: of.reduce((sum, cell) => sum + cell.count, 0) };
  });
}

/** The last days up to now, oldest first, in UTC as the service counts them. */
export function lastDays(now: Date, count: number): string[] {
  return Array.from({ length: count }, (_, at) =>
    new Date(now.getTime() - (count - 1 - at) * 86_400_000).toISOString().slice(0, 10),
  );
}

/** The shade of a cell, 0 to 4: logarithmic, because there are thousands of steps for each title. */
export function shade(count: number, most: number): number {
  if (!count) return 0;
  return 1 + Math.min(3, Math.floor((Math.log(count + 1) / Math.log(most + 1)) * 4 - 1e-9));
}

/** The newest days are at the end. */
const showEnd = (table: Element | undefined) => table?.scrollTo(table.scrollWidth, 0);

/** Daily counts by channel; a cell opens its events. Sends `change-address`. */
@customElement("realm-summary")
export class RealmSummary extends LitElement {
  @property({ attribute: false }) address!: Address;
  @state() private rows: SummaryRow[] | null = null;
  @state() private error: ApiError | null = null;
  @state() private count: number = DAYS[0];
  private readonly asking = new Asking();

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.load();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.asking.stop();
  }

  private async load(): Promise<void> {
    const params = { by: "channel,severity,day", since: lastDays(new Date(), this.count)[0]! };
    const rows = await this.asking.until(
      () => getJson<SummaryRow[]>("api/battle_log/summary", params),
      (error) => (this.error = error),
    );
    if (!rows) return;
    this.rows = rows;
    this.error = null;
  }

  private choose(count: number): void {
    this.count = count;
    void this.load();
  }

  protected override render() {
    if (this.error) {
      return html`<div class="state"><h2>${this.error.message}</h2><p class="soft">${wayOut(this.error)}</p>
        <button @click=${() => this.asking.now()}>Try again</button></div>`;
    }
    const days = lastDays(new Date(), this.count);
    const channels = dailyCounts(this.rows ?? [], Object.keys(CHANNELS), days);
    const total = channels.reduce((sum, channel) => sum + channel.total, 0);
    return html`<section class="summary card" aria-label="Daily counts by channel">
      <header>
        <h1>${this.rows ? `${plural(total, "event")} in ${this.count} days` : "Loading …"}</h1>
        <div class="segments" role="group" aria-label="Days">
          ${DAYS.map(
            (count) => html`<button aria-pressed=${count === this.count} @click=${() => this.choose(count)}>
              ${count} d
            </button>`,
          )}
        </div>
      </header>
      <div class="summary-scroll" tabindex="0" role="region" aria-label="Table of daily counts" ${ref(showEnd)}>
        ${this.table(channels, days)}
      </div>
      <p class="soft">Days are in UTC. Counts stay when old events are deleted. Select a number to see its events.</p>
    </section>`;
  }

  private table(channels: readonly ChannelDays[], days: readonly string[]): TemplateResult {
    const most = Math.max(...channels.flatMap((channel) => channel.days.map((cell) => cell.count)), 1);
    return html`<table>
      <thead>
        <tr>
          <th scope="col">Channel</th>
          ${days.map((day) => html`<th scope="col">${day.slice(5)}</th>`)}
          <th scope="col">Total</th>
        </tr>
      </thead>
      <tbody>
        ${channels.map(
          (channel) => html`<tr>
            <th scope="row"><span aria-hidden="true">${channelIcon(channel.channel)}</span> ${CHANNELS[channel.channel]?.label}</th>
            ${channel.days.map((cell) => this.cell(channel.channel, cell, most))}
            <td class="sum">${formatCount(channel.total)}</td>
          </tr>`,
        )}
      </tbody>
    </table>`;
  }

  private cell(channel: string, cell: DayCell, most: number): TemplateResult {
    if (!cell.count) return html`<td class="none">·</td>`;
    return html`<td class="shade-${shade(cell.count, most)}">
      <button
        class="quiet"
        @click=${() => this.open(channel, cell.day)}
      >
        <span>${formatCount(cell.count)}<span class="visually-hidden"> on ${cell.day}</span></span>
        ${cell.errors ? html`<span class="ink-error">✕ ${formatCount(cell.errors)}<span class="visually-hidden"> ${cell.errors === 1 ? "error" : "errors"}</span></span>` : nothing}
      </button>
    </td>`;
  }

  private open(channel: string, day: string): void {
    const until = new Date(Date.parse(day) + 86_400_000).toISOString().slice(0, 10);
    const address: Address = {
      ...this.address,
      view: "log",
      asOf: null,
      event: null,
      query: withList(EMPTY_QUERY, "channel", [channel]),
      range: { named: null, since: day, until },
    };
    this.dispatchEvent(new CustomEvent("change-address", { detail: { address } }));
  }
}

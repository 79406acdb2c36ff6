import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { ApiError, getJson, postJson } from "../shared/api";
import { Freshness } from "../shared/connection";
import { formatAge, formatCount, formatTime, plural, shownText } from "../shared/format";
import { term } from "../shared/labels";
import "../shared/page-header";
import { shortcuts } from "../shared/shortcuts";
import { snippet } from "../shared/snippet";
import { say } from "../shared/toast";

const HOUR_S = 3_600;
const MUTES: readonly [label: string, seconds: number][] = [
  ["1 h", HOUR_S],
  ["8 h", 8 * HOUR_S],
  ["3 d", 72 * HOUR_S],
];
const TRIED = "7d";
const STATES: Record<Message["state"], [icon: string, severity: string, word: string]> = {
  delivered: ["✓", "success", "Delivered"],
  pending: ["…", "warning", "Waiting"],
  dead: ["✕", "error", "Not delivered"],
};

/** Alerts: which there are, what they sent, and what to do about them. */
@customElement("realm-alerts")
export class RealmAlerts extends LitElement {
  @state() private alerts: Alerts | null = null;
  @state() private tried: ReadonlyMap<string, History> | null = null;
  /** What is being done, by its button: it is off until the service has answered. */
  @state() private busy = "";
  @state() private outcomes: ReadonlyMap<string, string> = new Map();
  private readonly fresh = new Freshness(this, { read: async () => void (this.alerts = await getAlerts()), concerns: () => true });
  private stop = () => {};

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.stop = shortcuts(document, [{ key: "?", label: "Show this list", run: () => undefined }]);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stop();
  }

  private async attempt(name: string, work: () => Promise<string>): Promise<void> {
    this.busy = name;
    try {
      say(await work());
      this.alerts = await getAlerts();
    } catch (error) {
      say(error instanceof ApiError ? `${error.message} ${error.hint}` : String(error));
    }
    this.busy = "";
  }

  /** A message or a test, whose outcome stays beside its button. */
  private send(name: string, work: () => Promise<Outcome>): Promise<void> {
    return this.attempt(name, async () => {
      const text = outcomeText(await work());
      this.outcomes = new Map([...this.outcomes, [name, text]]);
      return text;
    });
  }

  private readonly try = (): Promise<void> =>
    this.attempt("try", async () => {
      this.tried = new Map((await getHistory(TRIED)).map((one) => [one.rule, one]));
      return "Tried; nothing was sent";
    });

  private quieten(rule: Rule, forS: number): void {
    void this.attempt(`mute ${rule.name}`, async () => {
      await mute(rule.name, forS);
      return forS ? `${rule.name} is muted` : `${rule.name} sends again`;
    });
  }

  protected override render() {
    const { alerts } = this;
    const dead = alerts?.messages.filter((one) => one.state === "dead").length ?? 0;
    document.title = `${dead ? `(✕ ${dead}) ` : ""}Alerts`;
    return html`<realm-header page="alerts" .tools=${this.fresh.pill()}></realm-header>
      <main class="alerts-page">
        <h1 class="visually-hidden">Alerts</h1>
        ${this.fresh.notice()}
        ${alerts?.problem ? html`<p class="notice-line ink-warning" role="alert">${alerts.problem}</p>` : nothing}
        ${alerts ? this.body(alerts) : this.fresh.isDown || this.fresh.problem ? nothing : html`<p class="soft loading">Loading …</p>`}
      </main>`;
  }

  private body(alerts: Alerts): TemplateResult {
    if (!alerts.targets.length && !alerts.messages.length) return beginning();
    return html`${this.rules(alerts.rules, alerts.muted_runs ?? [])}
      <div class="run-columns"><div class="column">${this.messages(alerts.messages)}</div><div class="column">${this.targets(alerts)}</div></div>`;
  }

  private rules(rules: readonly Rule[], runs: readonly MutedRun[]): TemplateResult {
    return html`<section class="card" aria-label="Rules" data-testid="rules">
      <div class="card-head">
        <h2>${term("Rules", "rule")}</h2>
        <span class="controls"><button ?disabled=${this.busy !== ""} @click=${this.try}>${this.busy === "try" ? "Trying …" : "Try on the last 7 days"}</button></span>
      </div>
      <ul class="alert-list">${byConcern(rules).map((rule) => this.rule(rule))}${runs.map((run) => this.mutedRun(run))}</ul>
    </section>`;
  }

  private unmute(run: string): void {
    void this.attempt(`unmute ${run}`, async () => {
      await unmuteRun(run);
      return `${run} is heard of again`;
    });
  }

  /** A run of which no rule says anything for now: `realm alerts mute --run RUN`. */
  private mutedRun({ run_id, muted_until }: MutedRun): TemplateResult {
    return html`<li class="alert-rule" data-muted-run=${run_id}>
      <div><b class="mono" dir="auto">${shownText(run_id)}</b> <span class="soft">a run, muted at every rule</span></div>
      <div class="alert-actions"><span class="ink-warning">Muted until ${timeText(muted_until)}</span>
        <button ?disabled=${this.busy !== ""} @click=${() => this.unmute(run_id)}>Unmute</button></div>
    </li>`;
  }

  private rule(rule: Rule): TemplateResult {
    const { delivered, pending, dead } = rule.messages;
    const tried = this.tried?.get(rule.name);
    return html`<li class="alert-rule" data-rule=${rule.name}>
      <div>
        <b class="mono">${rule.name}</b> <span class="soft">${rule.built_in ? "built in" : "from realm.toml"} · to ${rule.to.join(", ") || "nobody"}</span>
        <p dir="auto">${rule.when}</p>
        ${tried ? html`<p class="soft" data-testid="tried">${triedText(tried)}</p>` : nothing}
      </div>
      <div>
        <p>${rule.fired_at ? html`Fired <time datetime=${rule.fired_at} title=${timeText(rule.fired_at)}>${agoText(rule.fired_at)}</time>` : html`<span class="soft">Never fired</span>`}</p>
        <p class="soft">${[delivered && `${formatCount(delivered)} delivered`, pending && `${formatCount(pending)} waiting`].filter(Boolean).join(" · ")}
          ${dead ? html`<b class="ink-error">✕ ${formatCount(dead)} not delivered</b>` : nothing}</p>
      </div>
      <div class="alert-actions" role="group" aria-label="Mute ${rule.name}">
        ${rule.muted_until
          ? html`<span class="ink-warning">Muted until ${timeText(rule.muted_until)}</span> <button ?disabled=${this.busy !== ""} @click=${() => this.quieten(rule, 0)}>Unmute</button>`
          : html`<span class="soft">Mute</span> ${MUTES.map(([label, seconds]) => html`<button ?disabled=${this.busy !== ""} @click=${() => this.quieten(rule, seconds)}>${label}</button>`)}`}
      </div>
    </li>`;
  }

  private targets({ targets, circuits }: Alerts): TemplateResult {
    return html`<section class="card" aria-label="Targets" data-testid="targets">
      <h2>${term("Targets", "target")}</h2>
      <ul class="alert-list">
        ${targets.map((target) => this.target(target))}
        ${circuits.map((one) => html`<li class="ink-warning">Nothing more is sent to ${one.host} until ${timeText(one.until)}: ${one.reason}</li>`)}
      </ul>
    </section>`;
  }

  private target(target: Target): TemplateResult {
    const name = `test ${target.name}`;
    return html`<li class="alert-target" data-target=${target.name}>
      <div><b class="mono">${target.name}</b> <span class="soft mono">${target.place}</span> <span class="soft">as ${target.template}</span>
        ${this.outcomes.has(name) ? html`<p class="outcome">${this.outcomes.get(name)}</p>` : nothing}</div>
      <button ?disabled=${this.busy !== ""} @click=${() => this.send(name, () => sendTest(target.name))}>${this.busy === name ? "Sending …" : "Send a test"}</button>
    </li>`;
  }

  private messages(messages: readonly Message[]): TemplateResult {
    return html`<section class="card" aria-label="Messages" data-testid="messages">
      <div class="card-head"><h2>Messages</h2><span class="soft">the newest ${formatCount(messages.length)}</span></div>
      ${messages.length ? nothing : html`<p class="soft">None was sent yet.</p>`}
      <ul class="alert-list">${messages.map((message) => this.message(message))}</ul>
    </section>`;
  }

  private message(message: Message): TemplateResult {
    const [icon, severity, word] = STATES[message.state];
    const name = `send ${message.id}`;
    return html`<li class="alert-message" data-message=${message.id} data-state=${message.state}>
      <div>
        <span class="severity ${severity}"><span class="severity-icon" aria-hidden="true">${icon}</span>${word}</span>
        <time class="soft" datetime=${message.created}>${timeText(message.created)}</time> <span class="soft">to ${message.target}</span>
        <p dir="auto">${shownText(message.title)}</p>
        ${message.problem ? html`<p class="ink-error">${message.problem}, after ${plural(message.attempts, "try", "tries")}</p>` : nothing}
        ${this.outcomes.has(name) ? html`<p class="outcome">Sent again: ${this.outcomes.get(name)}</p>` : nothing}
      </div>
      <button ?disabled=${this.busy !== ""} @click=${() => this.send(name, () => sendAgain(message.id))}>${this.busy === name ? "Sending …" : "Send again"}</button>
    </li>`;
  }
}

/** What to do where no alert has a target. */
function beginning(): TemplateResult {
  return html`<div class="card empty-runs" data-testid="no-alerts">
    <h2>No alerts yet</h2>
    <p>One message when a training dies, hangs or goes wrong. To a phone, by the app ntfy, where the last word is a name that nobody guesses:</p>
    ${snippet("realm alerts init --ntfy lab-7f3k2q")}
    <p class="soft">To a channel with <code>--slack</code> or <code>--discord</code>, to a program with <code>--webhook</code>, to anything else with <code>--apprise</code>. Then start the service again: <code>realm down</code>, <code>realm up</code>.</p>
  </div>`;
}

function triedText({ messages, held_back, last }: History): string {
  if (!messages) return "Would not have fired in the last 7 days.";
  const newest = last.at(-1);
  const quiet = held_back ? `, ${formatCount(held_back)} held back while quiet` : "";
  return `Would have fired ${plural(messages, "time")} in the last 7 days${quiet}${newest ? `, last ${agoText(newest.time)}${newest.group ? ` (${newest.group})` : ""}` : ""}.`;
}

const timeText = (at: string) => formatTime(new Date(at), { zone: "local", date: true }).slice(0, 16);
const agoText = (at: string) => formatAge(Math.max(0, (Date.now() - Date.parse(at)) / 1_000));

/** A rule as `GET /api/alerts` answers it. */
export interface Rule {
  name: string;
  to: string[];
  /** A sentence. */
  when: string;
  built_in: boolean;
  muted_until: string | null;
  fired_at: string | null;
  messages: { pending: number; delivered: number; dead: number };
}

export interface Target {
  name: string;
  /** Its address without what is secret in it. */
  place: string;
  template: string;
}

export interface Message {
  id: number;
  rule: string;
  target: string;
  title: string;
  state: "pending" | "delivered" | "dead";
  attempts: number;
  status: number | null;
  problem: string;
  created: string;
  due: string | null;
}

export interface Alerts {
  rules: Rule[];
  targets: Target[];
  /** Absent where the service is older. */
  muted_runs?: MutedRun[];
  messages: Message[];
  circuits: { host: string; until: string; reason: string }[];
  /** Why nothing is sent; null if all is well. */
  problem: string | null;
}

/** A run of which no rule says anything for now. */
export interface MutedRun {
  run_id: string;
  muted_until: string;
}

/** What a rule would have sent. */
export interface History {
  rule: string;
  messages: number;
  held_back: number;
  last: { time: string; group: string }[];
}

export interface Outcome {
  delivered: boolean;
  status: number | null;
  problem: string;
  took_ms: number;
}

export const getAlerts = () => getJson<Alerts>("api/alerts");
export const getHistory = async (since: string) => (await getJson<{ rules: History[] }>("api/alerts/history", { since })).rules;
/** forS: 0 ends it. */
export const mute = (rule: string, forS: number) => postJson("api/alerts", { mute: rule, for_s: forS });
export const unmuteRun = (run: string) => postJson("api/alerts", { mute_run: run, for_s: 0 });
export const sendTest = (target: string) => postJson<Outcome>("api/alerts", { test: target });
export const sendAgain = (id: number) => postJson<Outcome>("api/alerts", { redeliver: id });

/** "taken (200) after 12 ms". */
export function outcomeText({ delivered, status, problem, took_ms }: Outcome): string {
  if (!delivered) return `not taken: ${problem}`;
  return `taken${status === null ? "" : ` (${status})`} after ${took_ms} ms`;
}

/** Rules with undelivered messages first, then those that fired last; those that never did keep their order. */
export function byConcern(rules: readonly Rule[]): Rule[] {
  const fired = (rule: Rule) => Date.parse(rule.fired_at ?? "") || 0;
  return [...rules].sort((a, b) => Number(b.messages.dead > 0) - Number(a.messages.dead > 0) || fired(b) - fired(a));
}

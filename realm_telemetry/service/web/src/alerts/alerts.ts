import { getJson, postJson } from "../shared/api";

/** A rule as `GET /api/alerts` answers it. */
export interface Rule {
  name: string;
  to: string[];
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
  messages: Message[];
  circuits: { host: string; until: string; reason: string }[];
  /** Why nothing is sent; null if all is well. */
  problem: string | null;
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

/** What the built-in rules are about, in plain words. */
export const BUILT_IN: Readonly<Record<string, string>> = {
  run_ended_badly: "A run failed, crashed, was killed, or is lost.",
  stalled: "A run lives and makes no progress.",
  not_finite: "A loss or another number became NaN or infinite.",
  disk_low: "A disk that a run writes to is nearly full.",
  host_lost: "A machine has fallen silent.",
};

export const getAlerts = () => getJson<Alerts>("api/alerts");
export const getHistory = async (since: string) => (await getJson<{ rules: History[] }>("api/alerts/history", { since })).rules;
/** forS: 0 ends it. */
export const mute = (rule: string, forS: number) => postJson("api/alerts", { mute: rule, for_s: forS });
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

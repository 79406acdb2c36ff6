/** How long after the last answer the state is asked for again. */
const PAUSE_MS = { soon: 2_000, later: 5_000, eventually: 10_000 } as const;
const HIDDEN_MS = 15_000;

export type Urgency = keyof typeof PAUSE_MS;

/** When to ask for the state again: only if something came, and never more than every few seconds. */
export class Refresh {
  private wanted: Urgency | null = null;
  private beganMs = -Infinity;

  want(urgency: Urgency): void {
    if (this.wanted === null || PAUSE_MS[urgency] < PAUSE_MS[this.wanted]) this.wanted = urgency;
  }

  began(nowMs: number): void {
    this.wanted = null;
    this.beganMs = nowMs;
  }

  due(nowMs: number, hidden: boolean): boolean {
    if (this.wanted === null) return false;
    const pause = hidden ? HIDDEN_MS : PAUSE_MS[this.wanted];
    return nowMs - this.beganMs >= pause;
  }
}

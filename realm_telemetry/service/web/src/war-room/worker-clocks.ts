import type { RealmEvent } from "../stream/event";

const KEPT = 20;
const BEHIND_S = 1;
const AHEAD_S = -0.05;

/**
 * How far the workers' clocks are off, judged by their heartbeats.
 *
 * A heartbeat arrives later than it was sent, by the way it took. The least delay of the last few
 * is therefore the offset, but for a few milliseconds; a negative one means a clock that is ahead.
 */
export class Clocks {
  private readonly delays = new Map<string, number[]>();

  heard(event: RealmEvent): void {
    const worker = event.details["worker_id"];
    if (event.kind !== "worker_heartbeat" || typeof worker !== "string" || !event.observed_unix_nano) return;
    const delayS = Number(BigInt(event.observed_unix_nano) - BigInt(event.time_unix_nano)) / 1e9;
    const delays = [...(this.delays.get(worker) ?? []), delayS].slice(-KEPT);
    this.delays.set(worker, delays);
    if (this.delays.size > 512) this.delays.delete(this.delays.keys().next().value!);
  }

  /** Seconds that a worker's clock is behind (or, negative, ahead), 0 if it is right; null if unknown. */
  offset(worker: string): number | null {
    const delays = this.delays.get(worker);
    if (!delays) return null;
    const least = Math.min(...delays);
    return least > BEHIND_S || least < AHEAD_S ? least : 0;
  }
}

import type { RealmEvent } from "../stream/event";
import type { Receipt, WorkerState } from "./state";

const KEPT = 20;
const BEHIND_S = 1;
const AHEAD_S = -0.05;
const TOLERATED_OFFSET_NS = 5e7;

/**
 * The offsets of the workers' clocks, estimated from their heartbeats.
 *
 * A heartbeat's delay is the clock's offset plus the time on the network. So the least delay of the
 * last few is the offset, to a few milliseconds; a negative one means that the clock is ahead.
 */
export class WorkerClocks {
  private readonly delays = new Map<string, number[]>();

  heard(event: RealmEvent): void {
    const worker = event.details["worker_id"];
    if (event.kind !== "worker_heartbeat" || typeof worker !== "string" || !event.observed_unix_nano) return;
    const delayS = Number(BigInt(event.observed_unix_nano) - BigInt(event.time_unix_nano)) / 1e9;
    const delays = [...(this.delays.get(worker) ?? []), delayS].slice(-KEPT);
    this.delays.set(worker, delays);
    if (this.delays.size > 512) this.delays.delete(this.delays.keys().next().value!);
  }

  /** Seconds that a worker's clock is behind (negative: ahead); 0 if it is right, null if unknown. */
  offset(worker: string): number | null {
    const delays = this.delays.get(worker);
    if (!delays) return null;
    const least = Math.min(...delays);
    return least > BEHIND_S || least < AHEAD_S ? least : 0;
  }
}

/** Seconds that a worker's clock is behind, from its heartbeats or else its receipt; 0 if it is right. */
export function clockOffset(
  worker: Pick<WorkerState, "worker_id" | "producer">,
  { receipts, clocks }: { receipts: readonly Receipt[]; clocks: WorkerClocks },
): number {
  const reported = receipts.find((one) => one.producer === worker.producer)?.clock_offset_ns ?? 0;
  return clocks.offset(worker.worker_id) ?? (Math.abs(reported) > TOLERATED_OFFSET_NS ? reported / 1e9 : 0);
}

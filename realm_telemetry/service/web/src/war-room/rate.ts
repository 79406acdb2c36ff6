const BUCKETS = 30;
const BUCKET_MS = 2_000;

/** How many events came, in steps of 2 s over the last minute. */
export class EventRate {
  readonly buckets: number[] = Array<number>(BUCKETS).fill(0);
  private at = 0;

  count(events: number, nowMs: number): void {
    const bucket = Math.floor(nowMs / BUCKET_MS);
    const passed = Math.min(bucket - this.at, BUCKETS);
    if (this.at && passed > 0) {
      this.buckets.splice(0, passed);
      while (this.buckets.length < BUCKETS) this.buckets.push(0);
    }
    this.at = Math.max(bucket, this.at);
    this.buckets[BUCKETS - 1]! += events;
  }

  perSecond(nowMs: number): number {
    this.count(0, nowMs);
    return this.buckets.reduce((sum, one) => sum + one, 0) / ((BUCKETS * BUCKET_MS) / 1_000);
  }
}

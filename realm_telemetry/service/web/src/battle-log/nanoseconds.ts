/** Nanoseconds as a text of seconds, which the HTTP API takes to the last digit. */
export function seconds(nanos: string | bigint): string {
  const digits = String(nanos).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/** The moment right after one, for ranges that are to contain it. */
export function secondsAfter(nanos: string): string {
  return seconds(BigInt(nanos) + 1n);
}

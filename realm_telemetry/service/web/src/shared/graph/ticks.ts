/** Where an axis has its ticks. */

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;
const TIME_STEPS_S = [
  1, 2, 5, 10, 15, 30, MINUTE_S, 2 * MINUTE_S, 5 * MINUTE_S, 10 * MINUTE_S, 15 * MINUTE_S, 30 * MINUTE_S,
  HOUR_S, 2 * HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S, 2 * DAY_S, 5 * DAY_S, 10 * DAY_S, 30 * DAY_S, 90 * DAY_S, 365 * DAY_S,
] as const;

export interface Ticks {
  at: number[];
  /** The distance of two; 0 on a logarithmic axis. */
  every: number;
}

/** Round numbers from `min` to `max`, at most `most` of them. least: the smallest distance that makes sense. */
export function linearTicks(min: number, max: number, most: number, least = 0): Ticks {
  const rough = Math.max((max - min) / Math.max(most, 1), least, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(rough));
  const every = power * ([1, 2, 5, 10].find((one) => one * power >= rough * (1 - 1e-9)) ?? 10);
  return multiples(min, max, every, 0);
}

/** Round times of the zone that is `offsetS` seconds ahead of UTC. */
export function timeTicks(min: number, max: number, most: number, offsetS: number): Ticks {
  const rough = (max - min) / Math.max(most, 1);
  const every = TIME_STEPS_S.find((one) => one >= rough) ?? DAY_S * 365 * Math.ceil(rough / DAY_S / 365);
  return multiples(min, max, every, offsetS);
}

/** Powers of ten; where there are less than two, round numbers. */
export function logTicks(min: number, max: number, most: number): Ticks {
  const first = Math.ceil(Math.log10(min) - 1e-9);
  const last = Math.floor(Math.log10(max) + 1e-9);
  if (last - first < 1) return linearTicks(min, max, most);
  const stride = Math.ceil((last - first + 1) / Math.max(most, 1));
  return { at: Array.from({ length: Math.floor((last - first) / stride) + 1 }, (_, n) => 10 ** (first + n * stride)), every: 0 };
}

function multiples(min: number, max: number, every: number, offset: number): Ticks {
  const first = Math.ceil((min + offset) / every - 1e-9);
  const count = Math.max(0, Math.floor((max + offset) / every + 1e-9) - first + 1);
  return { at: Array.from({ length: count }, (_, n) => (first + n) * every - offset), every };
}

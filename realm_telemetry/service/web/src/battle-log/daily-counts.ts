/** `api/battle_log/summary?by=channel,severity,day`. */
export interface SummaryRow {
  channel: string;
  severity: string;
  day: string;
  count: number;
}

export interface DayCell {
  day: string;
  count: number;
  errors: number;
}

export interface ChannelDays {
  channel: string;
  /** One for each of the days, oldest first. */
  days: DayCell[];
  total: number;
}

/** The table of a summary: channels in a given order, each with all days. */
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

/** The last days up to a moment, oldest first, in UTC as the service counts them. */
export function lastDays(now: Date, count: number): string[] {
  return Array.from({ length: count }, (_, at) =>
    new Date(now.getTime() - (count - 1 - at) * 86_400_000).toISOString().slice(0, 10),
  );
}

/** 0 to 4: how dark a cell is; logarithmic, because steps outnumber titles by thousands. */
export function shade(count: number, most: number): number {
  if (!count) return 0;
  return 1 + Math.min(3, Math.floor((Math.log(count + 1) / Math.log(most + 1)) * 4 - 1e-9));
}

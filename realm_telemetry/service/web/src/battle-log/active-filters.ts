import { type ListName, type Address, type Query, LISTS, exclusion, splitValues, withList } from "./address";
import { rangeText } from "./time-range";

/** For an address with `as_of`: its rows stay the same when events arrive. */
export const FROZEN_LABEL = "frozen: later events are hidden";

/** One filter, and the address without it. */
export interface ActiveFilter {
  label: string;
  without: Address;
}

/** Each filter of an address: for chips, and for what to remove when nothing matches. */
export function activeFilters(address: Address): ActiveFilter[] {
  const { query } = address;
  const found: ActiveFilter[] = [];
  const put = (label: string, changed: typeof query) =>
    found.push({ label, without: { ...address, query: changed } });
  if (query.q) put(`text: ${query.q}`, { ...query, q: "" });
  for (const name of LISTS) {
    const { wanted, unwanted } = splitValues(query.lists[name]);
    if (wanted.length) put(`${name}: ${wanted.join(", ")}`, withList(query, name, unwanted.map(exclusion)));
    for (const value of unwanted) put(`${name} ≠ ${value}`, withoutValue(query, name, exclusion(value)));
  }
  for (const has of query.has) {
    put(has.replace(":", " = "), { ...query, has: query.has.filter((one) => one !== has) });
  }
  for (const not of query.not) {
    put(not.replace(":", " ≠ "), { ...query, not: query.not.filter((one) => one !== not) });
  }
  return found;
}

function withoutValue(query: Query, name: ListName, value: string): Query {
  return withList(query, name, query.lists[name].filter((one) => one !== value));
}

/** When nothing matches, the time range and `as_of` count as filters too. */
export function activeFiltersAndRange(address: Address): ActiveFilter[] {
  const found = activeFilters(address);
  if (address.range.named !== "all") {
    const without: Address = { ...address, range: { named: "all", since: "", until: "" } };
    found.push({ label: `time: ${rangeText(address.range, address.zone)}`, without });
  }
  if (address.asOf !== null) {
    found.push({ label: FROZEN_LABEL, without: { ...address, asOf: null } });
  }
  return found;
}

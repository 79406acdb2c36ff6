import { type ListName, type Place, type Query, LISTS, leftOut, wantedOf, withList } from "./address";
import { rangeText } from "./time-range";

/** One filter, and the place without it. */
export interface Removal {
  label: string;
  without: Place;
}

/** Every filter of a place by itself: for chips, and for what an empty result could do without. */
export function removals(place: Place): Removal[] {
  const { query } = place;
  const found: Removal[] = [];
  const put = (label: string, changed: typeof query) =>
    found.push({ label, without: { ...place, query: changed } });
  if (query.q) put(`text: ${query.q}`, { ...query, q: "" });
  for (const name of LISTS) {
    const { wanted, unwanted } = wantedOf(query.lists[name]);
    if (wanted.length) put(`${name}: ${wanted.join(", ")}`, withList(query, name, unwanted.map(leftOut)));
    for (const value of unwanted) put(`${name} ≠ ${value}`, withoutValue(query, name, leftOut(value)));
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

/** The range counts as a filter where nothing matches. */
export function allRemovals(place: Place): Removal[] {
  const found = removals(place);
  if (place.range.named !== "all") {
    const without: Place = { ...place, range: { named: "all", since: "", until: "" } };
    found.push({ label: `time: ${rangeText(place.range, place.zone)}`, without });
  }
  if (place.asOf !== null) {
    found.push({ label: `as of cursor ${place.asOf}`, without: { ...place, asOf: null } });
  }
  return found;
}

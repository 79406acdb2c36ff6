import type { ReactiveControllerHost } from "lit";
import type { Place } from "./address";
import type { LiveTail } from "./live-tail";
import type { RealmLogList } from "./log-list";
import type { Results } from "./results";
import type { Selection } from "./selection";

export interface Step {
  /** Part of typing: all of it is one step of Back. */
  typing?: boolean;
  /** No step of its own, such as moving along rows with the details open. */
  replace?: boolean;
}

/** The page as its parts know it; each part owns one concern, and asks the others through here. */
export interface LogPage extends ReactiveControllerHost {
  readonly place: Place;
  readonly list: RealmLogList | null;
  readonly results: Results;
  readonly live: LiveTail;
  readonly selection: Selection;
  go(place: Place, step?: Step): void;
}

import type { ReactiveControllerHost } from "lit";
import type { Address } from "./address";
import type { RealmLogList } from "./log-list";

export interface Step {
  /** All changes while typing are one step of Back. */
  typing?: boolean;
  /** Replace the current step, as when moving along rows with the details open. */
  replace?: boolean;
}

/** The page as its parts know it: rows, live tail and selection read its address and go to others. */
export interface LogPage extends ReactiveControllerHost {
  readonly address: Address;
  readonly list: RealmLogList | null;
  go(address: Address, step?: Step): void;
}

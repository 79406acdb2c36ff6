import { getPage } from "../shared/api";
import { say } from "../shared/toast";
import type { Item } from "./row-groups";
import type { LogPage } from "./log-page";
import { seconds, secondsAfter } from "./nanoseconds";

/** How far to page for an error before the range is moved to it. */
const ERROR_PAGES = 4;

/** Open the next error below the current row: among the loaded rows, further ones, or far away. */
export async function nextError(page: LogPage): Promise<void> {
  const { severity } = page.place.query.lists;
  const wanted = severity.filter((name) => !name.startsWith("!"));
  if (severity.includes("!error") || (wanted.length && !wanted.includes("error"))) {
    return say("The severity filter leaves errors out");
  }
  const { view } = page.results;
  for (let pages = 0; ; pages++) {
    const at = errorBelow(page);
    if (at >= 0) return openError(page, at);
    if (view.complete || view.full || view.error || pages === ERROR_PAGES) break;
    await view.more();
  }
  await jump(page);
}

function errorBelow({ results, selection, list }: LogPage): number {
  const current = results.items.findIndex((item) => item.key === selection.current);
  const from = current < 0 ? (list?.firstInView ?? 0) : current + 1;
  return results.items.findIndex((item, at) => at >= from && isError(item));
}

function isError(item: Item): boolean {
  return item.type === "event" && item.event.severity === "error";
}

function openError({ results, selection, place }: LogPage, at: number): void {
  const item = results.items[at];
  if (item?.type !== "event") return;
  const replace = place.event !== null;
  selection.stand(item, at);
  selection.open(item.event, replace);
}

/** Too far to page there: let the range end at the error. */
async function jump(page: LogPage): Promise<void> {
  const { view, span } = page.results;
  const last = view.rows.all.at(-1);
  if (view.complete || !last || view.rows.order === "arrival") return say("No further error");
  const params = new URLSearchParams(view.params);
  params.set("severity", "error");
  params.set("until", seconds(last.time_unix_nano));
  params.set("limit", "1");
  const error = (await getPage(params)).events[0];
  if (!error) return say("No further error");
  const until = secondsAfter(error.time_unix_nano);
  page.go({ ...page.place, range: { named: null, since: span.since ?? "", until }, event: error.id, live: false });
  say("Moved to an older error; Back returns");
}

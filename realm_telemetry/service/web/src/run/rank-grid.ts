import { html, nothing, type TemplateResult } from "lit";
import { formatCount, plural } from "../shared/format";
import { logHref } from "../shared/links";
import { lookOf, type RankState, type Run } from "../shared/run";
import { eventsOf } from "./story";

/** More ranks than these are tiles; the table keeps those with a problem. */
export const FEW_RANKS = 16;
/** Steps behind the furthest rank at which a tile gets its next shade. */
const SHADES = [1, 3, 10, 30] as const;
/** A rank that began so much later than the first was started again. */
const AGAIN_MS = 5_000;

export interface Tile {
  name: string;
  behind: number;
  /** 0 is in front. */
  shade: number;
  /** What is wrong with it, as an icon and in words; empty if nothing is. */
  icon: string;
  text: string;
  severity: string;
}

/** One tile of each rank, by its number. */
export function tilesOf(run: Run): Tile[] {
  const ranks = Object.entries(run.ranks).sort((a, b) => a[0].localeCompare(b[0], undefined, { numeric: true }));
  const furthest = Math.max(...ranks.map(([, rank]) => rank.step ?? 0));
  const firstMs = Math.min(...ranks.map(([, rank]) => startedMs(rank)));
  return ranks.map(([name, rank]) => {
    const look = lookOf(rank.status);
    const behind = rank.step === null ? 0 : furthest - rank.step;
    const isAgain = run.attempts > 1 && startedMs(rank) - firstMs > AGAIN_MS;
    const isBad = look.severity === "error" || look.severity === "warning";
    return {
      name,
      behind,
      shade: SHADES.filter((least) => behind >= least).length,
      icon: isBad ? look.icon : isAgain ? "↻" : "",
      text: [look.label, isAgain ? "started again" : "", behind > 0 ? `${formatCount(behind)} behind` : ""].filter(Boolean).join(", "),
      severity: isBad ? look.severity : "",
    };
  });
}

const startedMs = (rank: RankState) => Date.parse(rank.started_at ?? "") || Infinity;

/** All ranks of a large run at a glance; each leads to its events. */
export function rankGrid(run: Run): TemplateResult {
  const tiles = tilesOf(run);
  const late = tiles.filter((tile) => tile.behind > 0).length;
  const bad = tiles.filter((tile) => tile.severity).length;
  return html`<p class="soft rank-legend">
      ${plural(tiles.length, "rank")}${bad ? html` · <b class="ink-error">${formatCount(bad)} with a problem</b>` : nothing}${late ? ` · ${formatCount(late)} behind, the darker the further` : " · all at the same step"}
    </p>
    <ul class="rank-grid" aria-label="All ranks" data-testid="rank-grid">
      ${tiles.map(
        (tile) => html`<li><a class="rank-tile shade-${tile.shade} ${tile.severity}" data-tile=${tile.name}
          href=${logHref({ ...eventsOf(run), rank: tile.name, range: "all" })}
          title="Rank ${tile.name}: ${tile.text}" aria-label="Rank ${tile.name}: ${tile.text}">${tile.icon || tile.name}</a></li>`,
      )}
    </ul>`;
}

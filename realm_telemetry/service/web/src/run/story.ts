import { joinNames } from "../battle-log/filter-data";
import { ApiError, getEvents, getJson, getText } from "../shared/api";
import { type Curve, type CurvesAnswer, curvesOf, type Metric, ranksOf } from "../shared/curves";
import { exactText } from "../shared/exact-json";
import { getRun, isOpen, type Run, runPath } from "../shared/run";
import type { RealmEvent } from "../stream/event";
import { readChanges, type Changes } from "./changes";
import { LIFECYCLE_KINDS } from "./timeline";
const POINTS = "1000";
const LISTED_EVENTS = "12";
const LIFECYCLES = "500";
const OUTPUT_LINES = 100;
const MAX_PRODUCERS = 100;
/** Curves of a run that goes on are read again after so long. */
const AGAIN_MS = 5_000;

/** The rank whose curves are drawn; null for the lowest. */
export type RankChoice = number | "all" | null;

/** All that the page of a run shows; what it reads it keeps until there is something newer. */
export class RunStory {
  run: Run | null = null;
  /** There is no such run. */
  isMissing = false;
  /** null until they have been read. */
  curves: Curve[] | null = null;
  /** The numbers of its machine. */
  machine: Metric[] = [];
  /** The ranks that have curves, and the one that is drawn. */
  ranks: number[] = [];
  rank: RankChoice = null;
  /** How much of an older run is read so far; null if all is. */
  building: number | null = null;
  /** Beginnings and ends of what it did, for the timeline. */
  lifecycles: RealmEvent[] = [];
  /** Since the run before of its kind; null where there is none, or it is not read yet. */
  changes: Changes | null = null;
  loud: RealmEvent[] | null = null;
  /** The last lines that it printed; empty where none were kept. */
  output = "";
  /** Changes when the curves have new points. */
  version = 0;
  private changesOf = "";
  private readAt = -Infinity;
  private readUpTo: string | null = null;

  constructor(
    readonly id: string,
    private readonly changed: () => void,
  ) {}

  /** again: also what is known already. Raises ApiError, unless it says that there is no such run. */
  async read(again = false): Promise<void> {
    if (again) {
      this.readUpTo = null;
      this.changesOf = "";
    }
    if (await this.readRun()) await this.readRest(this.run!);
  }

  private async readRun(): Promise<boolean> {
    try {
      this.run = await getRun(this.id);
      this.isMissing = false;
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "run_not_found")) throw error;
      this.isMissing = true;
      return false;
    }
    this.changed();
    return true;
  }

  private async readRest(run: Run): Promise<void> {
    const upTo = `${run.last_event_at} ${run.status} ${run.counts.events}`;
    const isNew = upTo !== this.readUpTo;
    if (!isNew || (isOpen(run.status) && performance.now() - this.readAt < AGAIN_MS)) return;
    [this.readUpTo, this.readAt] = [upTo, performance.now()];
    // One that fails stops none of the others.
    const parts = await Promise.allSettled([this.readLoud(run), this.readLifecycles(run), this.readCurves(), this.readOutput(), this.readChanges(run)]);
    const failed = parts.find((part) => part.status === "rejected");
    if (failed) throw failed.reason;
  }

  private async readLoud(run: Run): Promise<void> {
    this.loud = await getEvents<RealmEvent[]>("api/battle_log", {
      ...eventsOf(run),
      severity: "warning,error",
      limit: LISTED_EVENTS,
    });
    this.changed();
  }

  /** Where its settings are new, or it has ended: the runs before have ended too by then, and stay as they are. */
  private async readChanges(run: Run): Promise<void> {
    const settings = exactText([run.config, run.command, run.campaign_id, run.hosts, run.status]);
    if (settings === this.changesOf) return;
    this.changes = await readChanges(this.id);
    this.changesOf = this.changes ? settings : "";
    this.changed();
  }

  private async readLifecycles(run: Run): Promise<void> {
    const one: Record<string, string> = "0" in run.ranks && Object.keys(run.ranks).length > 1 ? { rank: "0" } : {};
    const query = { ...eventsOf(run), ...one, kind: LIFECYCLE_KINDS.join(","), limit: LIFECYCLES };
    this.lifecycles = await getEvents<RealmEvent[]>("api/battle_log", query);
    this.changed();
  }

  /** Draw the curves of another rank, or of all. */
  async chooseRank(rank: RankChoice): Promise<void> {
    this.rank = rank;
    if (this.run) await this.readCurves();
  }

  private async readCurves(): Promise<void> {
    const one: Record<string, string> = this.rank === null ? {} : { rank: String(this.rank) };
    const answer = await getJson<CurvesAnswer>(`${runPath(this.id)}/metrics`, { name: "*", points: POINTS, ...one });
    this.curves = curvesOf(answer);
    this.machine = answer.groups.filter(({ machine }) => machine).flatMap(({ metrics }) => metrics);
    this.ranks = ranksOf(answer);
    this.building = answer.building?.done ?? null;
    // What is there is shown; the rest is asked for again.
    if (this.building !== null) this.readUpTo = null;
    this.version += 1;
    this.changed();
  }

  private async readOutput(): Promise<void> {
    try {
      this.output = await getText(`${runPath(this.id)}/output?tail=${OUTPUT_LINES}`);
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "output_not_found")) throw error;
    }
    this.changed();
  }
}

/** The filters that the events of a run pass. */
export function eventsOf(run: Run): Record<string, string> {
  const producers = Object.values(run.ranks).map((rank) => rank.producer);
  // A run without an id has that of its only process.
  const isUnnamed = producers.includes(run.run_id);
  const isNameable = !run.run_id.startsWith("!") && run.run_id !== "none";
  if (isNameable && !isUnnamed) return { run: joinNames([run.run_id]) };
  return { producer: (isUnnamed ? [run.run_id] : producers.slice(0, MAX_PRODUCERS)).join(",") };
}

import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { ApiError, apiUrl, getText } from "../shared/api";
import { Freshness } from "../shared/connection";
import { logHref } from "../shared/links";
import "../shared/page-header";
import { commandText, isOpen, lookOf, runPath, type Run } from "../shared/run";
import { shortcuts } from "../shared/shortcuts";
import { copy, say } from "../shared/toast";
import { tracebackCard } from "../shared/traceback-card";
import { causeCard, settingsPanel } from "./cause-card";
import { changesPanel } from "./changes";
import "./metric-graphs";
import { eventsPanel, machinePanel, outputPanel, ranksPanel } from "./panels";
import { eventsOf, RunStory, type RankChoice } from "./story";
import { timelinePanel } from "./timeline";

const TICK_MS = 1_000;

/** The story of one run: why it ended or how it goes, and what it rests on. */
@customElement("realm-run")
export class RealmRun extends LitElement {
  private readonly story = new RunStory(idOf(location.pathname), () => this.requestUpdate());
  private readonly fresh = new Freshness(this, {
    read: (again) => this.story.read(again),
    concerns: (event) => event.run_id === this.story.id || (event.run_id === null && event.producer === this.story.id),
  });
  private readonly stops: (() => void)[] = [];

  protected override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // The age of the last event grows while none comes.
    const ticking = setInterval(() => this.isOpen && this.requestUpdate(), TICK_MS);
    this.stops.push(shortcuts(document, this.keys()), () => clearInterval(ticking));
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stops.splice(0).forEach((stop) => stop());
  }

  private get isOpen(): boolean {
    return this.story.run !== null && isOpen(this.story.run.status);
  }

  private keys() {
    return [
      { key: "c", label: "Copy the report", run: () => void this.copyReport() },
      { key: "e", label: "Its events in the Battle Log", run: () => this.story.run && location.assign(logOf(this.story.run)) },
      { key: "Escape", shown: "Esc", label: "All runs", run: () => location.assign(apiUrl("runs")) },
      { key: "?", label: "Show this list", run: () => undefined },
    ];
  }

  private readonly copyReport = async (): Promise<void> => {
    try {
      await copy(await getText(`${runPath(this.story.id)}/report`), "Report");
    } catch (error) {
      say(error instanceof ApiError ? error.message : String(error));
    }
  };

  protected override render() {
    const { run, isMissing } = this.story;
    document.title = titleOf(this.story.id, run, isMissing);
    // A run that has ended is as it is: there is nothing live about it.
    const pill = this.isOpen || this.fresh.isDown ? this.fresh.pill() : nothing;
    return html`<realm-header page="runs" .tools=${pill}></realm-header>
      <main class="run-page">
        ${this.fresh.notice()} ${isMissing ? this.missing() : run ? this.body(run) : this.waiting()}
      </main>`;
  }

  private waiting(): TemplateResult | typeof nothing {
    return this.fresh.isDown || this.fresh.problem ? nothing : html`<p class="soft loading">Loading …</p>`;
  }

  private missing(): TemplateResult {
    return html`<div class="card empty-runs" data-testid="no-run">
      <h1>There is no such run</h1>
      <p class="mono missing-id" dir="auto">${this.story.id}</p>
      <p class="soft">It has no events in this log. Perhaps it belongs to another home, or its name is misspelt.</p>
      <p><a href=${apiUrl("runs")}>All runs</a></p>
    </div>`;
  }

  private body(run: Run): TemplateResult {
    const { building, changes, curves, lifecycles, machine, loud, output, rank, ranks, version } = this.story;
    return html`${causeCard(run, Date.now(), this.tools(run))}
      ${run.exception ? tracebackCard(run.exception) : nothing} ${outputPanel(output)} ${timelinePanel(run, lifecycles, Date.now())}
      ${curves === null ? html`<section class="card"><h2>Metrics</h2><p class="soft">${this.fresh.isDown ? "Not read yet." : "Loading …"}</p></section>` : html`<realm-metric-graphs .curves=${curves} .version=${version} .ranks=${ranks} .rank=${rank} .building=${building} @rank=${(sent: CustomEvent<RankChoice>) => this.story.chooseRank(sent.detail).catch((error: unknown) => say(String(error)))}></realm-metric-graphs>`}
      <div class="run-columns">
        <div class="column">${loud === null ? nothing : eventsPanel(run, loud)} ${ranksPanel(run)}</div>
        <div class="column">${changesPanel(run, changes)} ${settingsPanel(run)} ${machinePanel(machine)}</div>
      </div>`;
  }

  private tools(run: Run): TemplateResult {
    const command = commandText(run);
    return html`<button @click=${this.copyReport}>Copy report</button>
      ${command ? html`<button @click=${() => copy(command, "Command")}>Copy command</button>` : nothing}
      <a class="button" href=${logOf(run)}>Events in the Battle Log</a>`;
  }
}

function logOf(run: Run): string {
  return logHref({ ...eventsOf(run), range: "all" });
}

/** The id in the address, percent-encoded there. */
function idOf(path: string): string {
  const last = path.slice(path.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** Problems first, because a tab shows little. */
function titleOf(id: string, run: Run | null, isMissing: boolean): string {
  if (isMissing) return "No such run";
  return run ? `${lookOf(run.status).label} · ${run.run_id}` : id;
}

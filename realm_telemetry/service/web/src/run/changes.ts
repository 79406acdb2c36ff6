import { html, nothing, type TemplateResult } from "lit";
import { ApiError, apiUrl, getEvents } from "../shared/api";
import { plural } from "../shared/format";
import { getLabels } from "../shared/labels";
import { runHref } from "../shared/links";
import { exactText } from "../shared/exact-json";
import { lookOf, runPath, type Run } from "../shared/run";
import { differencesOf, type Difference, type Settings } from "../shared/settings";

/** `GET /api/runs/{id}/changes`: the run before of the same kind, and in what they differ. */
interface Answer {
  before: { run_id: string; status: string; rule: "campaign" | "command" | "name"; is_well: boolean } | null;
  config: Settings;
  facts: { name: string; values: [unknown, unknown] }[];
}

/** What was changed since the run before. kind: by what it is one of the same. */
export interface Changes {
  before: NonNullable<Answer["before"]>;
  kind: string;
  different: Difference[];
  same: number;
}

const KINDS = { command: "of the same program", name: "of a like name" } as const;
const FACTS: Readonly<Record<string, string>> = { cwd: "directory", git_commit: "git commit", world_size: "ranks" };

/** null if it is the first of its kind, or the service is older. */
export async function readChanges(id: string): Promise<Changes | null> {
  const { before, config, facts } = await getEvents<Answer>(`${runPath(id)}/changes`).catch((error: unknown) => {
    if (error instanceof ApiError && error.code === "not_found") return { before: null, config: { different: [], same: 0 }, facts: [] };
    throw error;
  });
  if (before === null) return null;
  const kind = before.rule === "campaign" ? `of the same ${(await getLabels()).campaign.toLowerCase()}` : KINDS[before.rule];
  const { different, same } = differencesOf(config, 2);
  const changed = facts.map(({ name, values }) => ({ name: FACTS[name] ?? name, values: values.map(factText) }));
  return { before, kind, different: [...different, ...changed], same };
}

function factText(value: unknown): string | null {
  if (Array.isArray(value)) return value.join(" ") || null;
  return value === null || typeof value === "string" ? value : exactText(value);
}

/** What a person asks first of a run that is not well, when one like it was. */
export function changesPanel(run: Run, changes: Changes | null): TemplateResult | typeof nothing {
  if (changes === null) return nothing;
  const { before, kind, different, same } = changes;
  const compare = apiUrl("compare", new URLSearchParams([before.run_id, run.run_id].map((id) => ["run", id.toWellFormed()])));
  return html`<section class="card" aria-label="Changes" data-testid="changes">
    <div class="card-head"><h2>${before.is_well ? "Changed since it was well" : "Changed since the run before"}</h2>
      <span class="controls"><a href=${compare}>Compare</a></span></div>
    <p class="soft">Since <a href=${runHref(before.run_id)} dir="auto">${before.run_id}</a>,
      ${before.is_well ? html`the last run ${kind} that was well.` : html`the last run ${kind}: ${lookOf(before.status).label.toLowerCase()}. None before it was well.`}</p>
    ${different.length
      ? html`<div class="table-scroll" tabindex="0" role="region" aria-label="Table of changes">
          <table class="ranks changes">
            <thead><tr><th scope="col">Setting</th><th scope="col">Then</th><th scope="col">In this run</th></tr></thead>
            <tbody>${different.map(({ name, values }) => row(name, values))}</tbody>
          </table>
        </div>`
      : html`<p>Nothing: the same settings, command and commit.</p>`}
    ${same && different.length ? html`<p class="soft">${plural(same, "setting")} ${same === 1 ? "is" : "are"} the same.</p>` : nothing}
  </section>`;
}

function row(name: string, values: readonly (string | null)[]): TemplateResult {
  return html`<tr data-change=${name}><th scope="row" class="mono">${name}</th>
    ${values.map((value) => html`<td class=${value === null ? "soft" : "mono"} dir="auto">${value ?? "not set"}</td>`)}</tr>`;
}

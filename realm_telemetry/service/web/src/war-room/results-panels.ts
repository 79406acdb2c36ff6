import { html, nothing, type TemplateResult } from "lit";
import { formatCount, formatNumber } from "../shared/format";
import { toPercent, type RealmState } from "./state";

/** What the skills were measured at last, and how that has changed. */
export function evalsPanel(state: RealmState): TemplateResult {
  const evals = Object.values(state.eval.latest).slice(0, 12);
  return html`<section class="card evals" aria-label="Latest evals">
    <h2>Latest evals</h2>
    ${evals.length ? nothing : html`<p class="soft">No skill has been measured.</p>`}
    <table>
      <tbody>
        ${evals.map((one) => {
          const delta = one.delta ?? 0;
          const trend = delta > 0 ? "success" : delta < 0 ? "warning" : "info";
          return html`<tr>
            <th scope="row">${one.skill ?? "?"} <span class="soft">${one.level ?? ""}</span></th>
            <td>${one.accuracy === null ? "–" : toPercent(one.accuracy)}</td>
            <td class="ink-${trend}">${one.delta === null ? "" : `${delta > 0 ? "▲ +" : delta < 0 ? "▼ −" : "= "}${toPercent(Math.abs(delta))}`}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </section>`;
}

/** The checkpoint that was promoted last. */
export function championPanel(state: RealmState): TemplateResult {
  const champion = state.checkpoints.champion;
  const best = state.checkpoints.best;
  return html`<section class="card champion" aria-label="Champion checkpoint">
    <h2>Champion</h2>
    ${champion
      ? html`<p class="big">👑 ${champion.step === null ? (champion.path ?? "?") : formatCount(champion.step)}</p>
          <p>${champion.accuracy === null ? "" : toPercent(champion.accuracy)}${champion.loss === null ? "" : ` · loss ${formatNumber(champion.loss)}`}</p>
          <p class="soft path">${champion.path ?? ""}</p>`
      : html`<p class="soft">No checkpoint has been promoted.</p>`}
    ${best?.loss != null ? html`<p class="soft">least loss: ${formatNumber(best.loss)} at ${formatCount(best.step ?? 0)}</p>` : nothing}
  </section>`;
}

/** The titles that heroes have earned, quietly. */
export function guildRibbon(state: RealmState): TemplateResult | typeof nothing {
  const titles = state.guild.titles.slice(0, 6);
  if (!titles.length) return nothing;
  return html`<p class="ribbon guild" aria-label="Titles of the guild">
    🏰 ${titles.map((one) => html`<span><b>${one.title}</b> ${one.hero_id ?? ""}</span>`)}
  </p>`;
}

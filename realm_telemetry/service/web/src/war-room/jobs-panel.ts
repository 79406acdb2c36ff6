import { html, nothing, type TemplateResult } from "lit";
import { formatCount, formatDuration } from "../shared/format";
import { logHref } from "./links";
import type { JobState, RealmState } from "./state";

const LANES = ["waiting", "claimed", "running", "completed", "failed"] as const;
const LANE_ROWS = 4;

/** Jobs by what has become of them. */
export function jobsPanel(state: RealmState): TemplateResult {
  const jobs = Object.values(state.jobs.jobs);
  return html`<section class="card jobs" aria-label="Jobs">
    <h2>Jobs</h2>
    <div class="lanes">
      ${LANES.map((lane) => {
        const here = jobs.filter((job) => job.status === lane || (lane === "failed" && job.status === "lost"));
        return html`<div class="lane ${here.length ? "" : "none"}">
          <h3>${lane} <b>${formatCount(here.length)}</b></h3>
          <ul>${here.slice(0, LANE_ROWS).map(jobRow)}</ul>
          ${here.length > LANE_ROWS ? html`<p class="soft">+${formatCount(here.length - LANE_ROWS)} more</p>` : nothing}
        </div>`;
      })}
    </div>
  </section>`;
}

function jobRow(job: JobState): TemplateResult {
  const href = logHref({ has: `job_id:${job.job_id}`, range: "all" });
  const facts = [job.job_type, job.worker_id, job.duration_s === null ? null : formatDuration(job.duration_s)];
  return html`<li class="job ${job.status}" title=${job.error ?? ""}>
    <a href=${href}>${job.job_id}</a>
    <span class="soft">${facts.filter(Boolean).join(" · ")}</span>
  </li>`;
}

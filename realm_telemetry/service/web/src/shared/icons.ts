import { svg, html, type TemplateResult } from "lit";

/** Drawn, because not every system's fonts have signs for these. */
const icon = (shape: unknown): TemplateResult =>
  html`<svg class="icon" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">${shape}</svg>`;

export const COPY_ICON = icon(svg`<rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 3.2V3A1.5 1.5 0 0 0 9 1.5H3.5A1.5 1.5 0 0 0 2 3v5.5A1.5 1.5 0 0 0 3.5 10h.2" />`);

/** A branch of a tree. */
export const PATH_ICON = icon(svg`<circle cx="3.5" cy="3" r="1.5" /><path d="M3.5 4.5V11A1.5 1.5 0 0 0 5 12.5h5.5M3.5 7.5h7" /><circle cx="12" cy="7.5" r="1.5" /><circle cx="12" cy="12.5" r="1.5" />`);

import { svg, html, type TemplateResult } from "lit";

/** A small line chart without axes; the text beside it has the numbers. */
export function sparkline(values: readonly number[], width = 80, height = 18): TemplateResult {
  const finite = values.filter(Number.isFinite);
  if (finite.length < 2) return html``;
  const least = Math.min(...finite);
  const span = Math.max(...finite) - least || 1;
  const x = (index: number) => ((index / (values.length - 1)) * (width - 2) + 1).toFixed(1);
  const y = (value: number) => (height - 2 - ((value - least) / span) * (height - 4) + 1).toFixed(1);
  const points = values
    .map((value, index) => (Number.isFinite(value) ? `${x(index)},${y(value)}` : ""))
    .join(" ");
  return html`<svg class="sparkline" viewBox="0 0 ${width} ${height}" width=${width} height=${height} aria-hidden="true">
    ${svg`<polyline points=${points} />`}
  </svg>`;
}

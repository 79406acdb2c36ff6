import { html, type TemplateResult } from "lit";
import { getJson } from "./api";
import { GLOSSARY } from "./glossary";

/** How heroes and campaigns are called here. */
export interface Labels {
  hero: string;
  campaign: string;
}

export const USUAL_LABELS: Labels = { hero: "Model", campaign: "Project" };

export const getLabels = () => getJson<Labels>("api/labels");

/** The label of a filter field or of a fact, by its name. */
export function labelOf(labels: Labels, name: string, usual: string): string {
  return name === "hero" || name === "campaign" ? labels[name] : usual;
}

/** A text with the meaning of its word as a tooltip; the list of keys has all words, for those without a pointer. */
export function term(text: string, word = text.toLowerCase()): TemplateResult {
  const meaning = GLOSSARY[word];
  return meaning ? html`<span class="term" title=${meaning}>${text}</span>` : html`${text}`;
}

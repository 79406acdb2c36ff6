import { html, type TemplateResult } from "lit";
import { GLOSSARY } from "./glossary";

/** A text with the meaning of its word as a tooltip; the list of keys has all words, for those without a pointer. */
export function term(text: string, word = text.toLowerCase()): TemplateResult {
  const meaning = GLOSSARY[word];
  return meaning ? html`<span class="term" title=${meaning}>${text}</span>` : html`${text}`;
}

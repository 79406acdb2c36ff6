import { getJson } from "./api";

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

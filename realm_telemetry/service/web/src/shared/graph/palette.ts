const NAMES = [
  "--soft", "--line", "--ink", "--accent", "--card", "--info", "--success", "--warning", "--error",
  "--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6",
] as const;

export type Palette = Readonly<Record<(typeof NAMES)[number], string>>;

export const SERIES_COLOURS = 6;

/** The stylesheet's tokens as colours for a canvas; to be read again when the theme changes. */
export function readPalette(): Palette {
  const probe = document.createElement("i");
  document.body.append(probe);
  const colours = NAMES.map((name) => {
    probe.style.color = `var(${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(colours) as Palette;
}

/** The colour of the run with a number. */
export function seriesColour(palette: Palette, index: number): string {
  return palette[`--series-${(index % SERIES_COLOURS) + 1}` as keyof Palette];
}

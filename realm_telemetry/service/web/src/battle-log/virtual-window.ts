/** However high the window is, more rows than this are never in the DOM. */
export const MAX_ROWS = 150;

const OVERSCAN = 12;

export interface RowWindow {
  first: number;
  /** Behind the last. */
  end: number;
}

/** Which rows of equal height to render at a scroll position. */
export function rowWindow(scrollTop: number, height: number, row: number, count: number): RowWindow {
  const wanted = Math.floor(Math.max(scrollTop, 0) / row) - OVERSCAN;
  const first = Math.max(0, Math.min(wanted, count - 1));
  const shown = Math.ceil(Math.max(height, 0) / row) + 1 + 2 * OVERSCAN;
  return { first, end: Math.min(count, first + Math.min(shown, MAX_ROWS)) };
}

/** Where to scroll so that a row is in view; the same place if it is already. */
export function scrollToRow(index: number, scrollTop: number, height: number, row: number): number {
  const top = index * row;
  if (top < scrollTop) return Math.max(0, top - row);
  if (top + row > scrollTop + height) return top + 2 * row - height;
  return scrollTop;
}

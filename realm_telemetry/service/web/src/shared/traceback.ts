/** A frame of a traceback: where, and the lines that show its code. */
export interface Frame {
  type: "frame";
  file: string;
  line: number;
  name: string;
  /** Its lines as they were printed. */
  lines: string[];
  /** Whether it is of the program itself, and not of a library or of Python. */
  own: boolean;
}

/** Anything else: headings, the exception's own line, what connects two tracebacks. */
export interface Text {
  type: "text";
  lines: string[];
}

export type Part = Frame | Text;

const FRAME = /^\s*(?:\| +)*File "(.*)", line (\d+)(?:, in (.*))?$/;
const INDENTED = /^(?:\s{4,}|\s*\|\s{4,})/;
const LIBRARY = /[\\/](?:site|dist)-packages[\\/]|^<frozen |[\\/]lib(?:64)?[\\/]python3?[\d.]*[\\/]|[\\/]Lib[\\/](?!.*[\\/])/;

/** The parts of a Python traceback in order; no line of it is left out. */
export function partsOf(traceback: string): Part[] {
  const parts: Part[] = [];
  for (const line of traceback.replace(/\n$/, "").split("\n")) {
    const found = FRAME.exec(line);
    const last = parts.at(-1);
    if (found) parts.push(frameOf(line, found));
    else if (last?.type === "frame" && INDENTED.test(line)) last.lines.push(line);
    else if (last?.type === "text") last.lines.push(line);
    else parts.push({ type: "text", lines: [line] });
  }
  return parts;
}

function frameOf(text: string, found: RegExpExecArray): Frame {
  const file = found[1]!;
  return { type: "frame", file, line: Number(found[2]), name: found[3] ?? "", lines: [text], own: !LIBRARY.test(file) };
}

/** Neighbouring frames of libraries are one fold. */
export type Shown = Text | Frame | { type: "fold"; frames: Frame[] };

export function folded(parts: readonly Part[]): Shown[] {
  const shown: Shown[] = [];
  // Where the program has no frame of its own, there is nothing to fold the others behind.
  const all = !parts.some((part) => part.type === "frame" && part.own);
  for (const part of parts) {
    const last = shown.at(-1);
    if (part.type === "text" || part.own || all) shown.push(part);
    else if (last?.type === "fold") last.frames.push(part);
    else shown.push({ type: "fold", frames: [part] });
  }
  return shown;
}

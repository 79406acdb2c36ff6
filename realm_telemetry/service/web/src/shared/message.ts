/** Characters that turn the direction of what follows: shown as they are, a message could read as another one. */
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const QUOTED = /`([^`\n]+)`/g;

/** A message as people read it: without backticks around names, and with a mark for each override of the direction. */
export function shownText(message: string): string {
  return message.replace(QUOTED, "$1").replace(TURNING, (mark) => `⟨U+${mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

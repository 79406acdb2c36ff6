"""Write the pages' list of words from docs/glossary.md: `make fields`.

`--check` only compares.
"""

import json
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "docs" / "glossary.md"
TARGET = Path(__file__).parent / "src" / "shared" / "glossary.ts"
WORDS = (
    "run", "attempt", "rank", "event", "kind", "channel", "routine kind", "producer", "source",
    "cursor", "receipt", "job", "worker", "spool", "shipper", "exporter", "pipeline", "trace",
    "span", "checkpoint", "NaN", "rule", "target", "hero", "campaign", "champion", "guild", "vault",
)  # fmt: skip
"""Those that the pages show, in the order of their list."""

HEADER = """// Written by `make fields` from docs/glossary.md.

/** Words of the pages, with what they mean. */
export const GLOSSARY: Readonly<Record<string, string>> = {
"""


def main() -> int:
    """Write the file, or with --check return 1 if it differs."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text(), encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write(f"{TARGET} differs from docs/glossary.md: run `make fields`\n")
    return 1


def text() -> str:
    """Return the file as it should be."""
    rows = [line.split(" | ") for line in SOURCE.read_text("utf-8").splitlines()]
    meanings = {row[0].strip("| "): row[1].strip("| ") for row in rows if len(row) > 1}
    lines = (f"  {json.dumps(word)}: {json.dumps(_plain(meanings[word]))},\n" for word in WORDS)
    return HEADER + "".join(lines) + "};\n"


def _plain(markdown: str) -> str:
    """Return a text without its marks, as a sentence."""
    words = re.sub(r"`([^`]*)`", r"\1", markdown)
    return f"{words[0].upper()}{words[1:].rstrip('.')}."


if __name__ == "__main__":
    sys.exit(main())

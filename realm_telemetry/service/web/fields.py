"""Write the pages' list of filter fields from the table in log/fields.py: `make fields`.

`--check` only compares.
"""

import json
import sys
from pathlib import Path

from realm_telemetry.log.fields import FIELDS, Field

TARGET = Path(__file__).parent / "src" / "battle-log" / "fields.ts"
HEADER = """// Written by `make fields` from realm_telemetry/log/fields.py.

/** What events can be filtered by. `of`: the event's field; `absent`: the name for "has none". */
export const FIELDS = [
"""


def main() -> int:
    """Write the file, or with --check return 1 if it differs."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text(), encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write(f"{TARGET} differs from log/fields.py: run `make fields`\n")
    return 1


def text() -> str:
    """Return the file as it should be."""
    return HEADER + "".join(f"  {_row(field)},\n" for field in FIELDS) + "] as const;\n"


def _row(field: Field) -> str:
    values = {
        "name": field.name,
        "of": field.column,
        "label": field.name.capitalize(),
        "alias": field.alias,
        "absent": field.absent,
    }
    return "{ " + ", ".join(f"{key}: {json.dumps(value)}" for key, value in values.items()) + " }"


if __name__ == "__main__":
    sys.exit(main())

"""Refuses to build a release without the pages, which git does not have."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGES = ("index.html", "battle-log.html", "event-stream.js")


class PagesHook(BuildHookInterface):
    """Runs for sdist and wheel; an editable install needs no pages."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raise RuntimeError if a page is missing."""
        static = Path(self.root) / "realm_telemetry" / "service" / "static"
        missing = [name for name in PAGES if not (static / name).is_file()]
        if version != "editable" and missing:
            raise RuntimeError(f"{', '.join(missing)} not built. First: make pages")

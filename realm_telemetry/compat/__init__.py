"""Everything that knows the older systems, for code and files that have not moved yet.

`core.event_bus`, `core.events`, `core.realm_store` and `core.battle_log` are here under the same
names, over the one log; `install()` makes unchanged imports of them work (docs/migration.md). The
rest of the package reaches this one only through `realm_telemetry.plugins.extension`.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from realm_telemetry.compat.renamed import Alias

__all__ = ["install"]

PACKAGE: Final = "core"
MODULES: Final = ("event_bus", "events", "realm_store", "battle_log")
"""What is provided, and nothing else: `arena.battle_log` of the older lab is another thing."""


def install() -> None:
    """Make `core.event_bus`, `core.events`, `core.realm_store`, `core.battle_log` importable.

    Those of an existing `core` package are left alone. Call it once `sys.path` is set; again is
    harmless.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # Behind all others: it is asked only for what no `core` package on sys.path has.
        sys.meta_path.append(_Finder())


class _Finder:
    """Finds `core` and its four modules."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if fullname == PACKAGE:
            spec = ModuleSpec(PACKAGE, None, is_package=True)
            # A `core` directory that comes onto sys.path later still gives its modules.
            spec.submodule_search_locations = _SearchPath()
            return spec
        if package == PACKAGE and name in MODULES:
            return ModuleSpec(fullname, Alias(f"realm_telemetry.compat.{name}"))
        return None


class _SearchPath(list[str]):
    """The `core` directories of sys.path, as it is when asked."""

    def __iter__(self) -> Iterator[str]:
        return (f"{entry or '.'}/{PACKAGE}" for entry in sys.path)

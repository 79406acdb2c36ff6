"""Make the older imports work in code that is not changed.

A finder behind all others is asked only for what nobody else has, so a `core` package that exists
stays as it is and gets only the modules that it lacks.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

PACKAGE: Final = "core"
MODULES: Final = ("event_bus", "events", "realm_store", "battle_log")
"""What is provided, and nothing else: `arena.battle_log` of the older lab is another thing."""


def install() -> None:
    """Make `core.event_bus`, `core.events`, `core.realm_store`, `core.battle_log` importable.

    Those of an existing `core` package are left alone. Call it once `sys.path` is set; again is
    harmless.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


class _Finder(MetaPathFinder):
    """Finds `core` and its four modules where nobody else does."""

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
            return ModuleSpec(fullname, _Loader(f"realm_telemetry.compat.{name}"))
        return None


class _Loader(Loader):
    """Lets the older name stand for our module, which is the same object under both."""

    def __init__(self, name: str) -> None:
        self._name = name

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self._name)


class _SearchPath(list[str]):
    """The `core` directories of sys.path, as it is when asked."""

    def __iter__(self) -> Iterator[str]:
        return (f"{entry or '.'}/{PACKAGE}" for entry in sys.path)

"""Lets a running process of 0.1.0, whose files were replaced by these, import them."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from realm_telemetry.compat.renamed import MEMBERS, ROOT, Finder, new_name

_KEPT: Final = ("config", "errors", "event", "kinds", "plugins", "producer", "version")
"""Rooms with state, or with classes that old and new code hand to each other."""


def adopt() -> None:
    """Keep the modules in memory that hold state, under their new names; drop all others.

    What is kept takes from the new files the names that it lacks. What is dropped lives on in the
    old code that has it, and new code imports the new files. Modules being imported are new.
    """
    loaded = {name: module for name, module in sys.modules.items() if name.startswith(ROOT)}
    old = {name: module for name, module in loaded.items() if not _is_being_imported(module)}
    for name, module in old.items():
        new = new_name(name) or name
        if new.split(".")[1] in _KEPT:
            sys.modules.setdefault(new, module)
            _complete(module, new)
        else:
            del sys.modules[name]
    for package, new in MEMBERS.items():
        if (kept := sys.modules.get(ROOT + package)) is not None:
            sys.modules.setdefault(ROOT + new, kept)
    sys.meta_path.insert(0, Finder())


def _is_being_imported(module: ModuleType) -> bool:
    # The import system sets it while a module's file is executed.
    return bool(getattr(module.__spec__, "_initializing", False))


def _complete(module: ModuleType, new: str) -> None:
    """Let a module in memory have the modules and names that the new files have."""
    place = Path(sys.modules["realm_telemetry"].__path__[0]).joinpath(*new.split(".")[1:])
    if place.is_dir():
        module.__path__ = [str(place)]
    copies: list[ModuleType] = []

    def __getattr__(name: str) -> Any:  # noqa: N807  # it becomes the module's
        if not name.startswith("_"):
            copies[:] = copies or [_load(new, place)]
            if name in vars(copies[0]):
                return vars(copies[0])[name]
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    vars(module).setdefault("__getattr__", __getattr__)


def _load(new: str, place: Path) -> ModuleType:
    spec = PathFinder.find_spec(new, [str(place.parent)])
    if spec is None or spec.loader is None:
        return ModuleType(new)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

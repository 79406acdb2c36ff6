"""Loaded by each Python below `realm run`, to tell the parent of an exception that nobody caught.

It is not part of the package for those programs: it imports nothing of it, parses on Python 3.6,
and writes a small file in the directory that `realm run` made. It never raises, prints nothing, and
takes about a millisecond. A `sitecustomize` that was there before runs as it would have.

Only a program that imports a training framework gets the package too, if it has it: the adapter of
that framework is imported right behind it.
"""

import os
import sys

_MAX_TRACEBACK = 16000
_MAX_FRAMES = 2000
_MAX_ERROR = 2000
_reported = []
_ADAPTERS = {
    "accelerate.tracking": "realm_telemetry.integrations.accelerate",
    "keras.src.models.model": "realm_telemetry.integrations.keras",
    "transformers.trainer": "realm_telemetry.integrations.transformers",
}
"""Modules of frameworks, each with the adapter whose `install` takes it."""


def _report(kind, value, trace):
    directory = os.environ.get("REALM_RUN_REPORTS")
    if not directory or issubclass(kind, (SystemExit, GeneratorExit, KeyboardInterrupt)):
        return
    if id(value) in _reported:
        return
    _reported.append(id(value))
    api = sys.modules.get("realm_telemetry.producer.api")
    import json
    import time
    import traceback

    module = "" if kind.__module__ in ("builtins", "__main__") else kind.__module__ + "."
    # Before it a syntax error shows its line; behind it stand the exception's notes, or its group.
    lines = traceback.format_exception_only(kind, value)
    named = (kind.__qualname__, "%s.%s" % (kind.__module__, kind.__qualname__))
    text = next((line for line in lines if line.startswith(named)), lines[-1]).strip()
    cause = value
    for _ in range(16):
        if not hasattr(cause, "exceptions") or not hasattr(cause, "subgroup"):
            break
        cause = cause.exceptions[0]
    if cause is not value:
        text = "%s: %s: %s" % (text, type(cause).__name__, cause)
    lines_of = traceback.format_exception(kind, value, trace, -_MAX_FRAMES)
    found = {
        "error": text[:_MAX_ERROR],
        "error_type": module + kind.__qualname__,
        "traceback": "".join(lines_of)[-_MAX_TRACEBACK:],
        "rank": os.environ.get("RANK") or os.environ.get("SLURM_PROCID"),
        "pid": os.getpid(),
        # It reports by itself; then this says only that the exception is known.
        "is_recorded": api is not None and api.get_telemetry() is not None,
        "time_unix_nano": int(time.time() * 1e9),
    }
    name = os.path.join(directory, "%d-%d" % (found["time_unix_nano"], found["pid"]))
    with open(name + ".new", "w") as file:
        json.dump(found, file)
    os.rename(name + ".new", name + ".json")


def _install():
    import atexit

    previous = sys.excepthook

    def hook(kind, value, trace):
        try:
            previous(kind, value, trace)
        finally:
            try:
                _report(kind, value, trace)
            except BaseException:
                pass

    def look():
        # Where another hook was put in the place of ours.
        try:
            value = getattr(sys, "last_value", None)
            if value is not None and not hasattr(sys, "ps1"):
                _report(type(value), value, value.__traceback__)
        except BaseException:
            pass

    sys.excepthook = hook
    atexit.register(look)


class _Finder(object):
    """Finds the modules of `_ADAPTERS` as they would be found, and has them adapted once executed."""

    def __init__(self):
        self._asked = set()

    def find_spec(self, name, path=None, target=None):
        """Return the spec that the other finders have; None for all other modules."""
        if name not in _ADAPTERS or name in self._asked:
            return None
        self._asked.add(name)
        try:
            for finder in list(sys.meta_path):
                find = getattr(finder, "find_spec", None)
                spec = find(name, path, target) if find is not None and finder is not self else None
                if spec is not None:
                    self._adapt(name, spec.loader)
                    return spec
        finally:
            self._asked.discard(name)

    def _adapt(self, name, loader):
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return

        def execute_and_adapt(module):
            execute(module)
            adapter = _ADAPTERS.pop(name, None)
            try:
                if adapter is not None:
                    import importlib

                    importlib.import_module(adapter).install(module)
            except Exception as error:
                _warn(name, error)

        try:
            loader.exec_module = execute_and_adapt
        except Exception:
            pass


def _warn(name, error):
    """Say that a framework is not what its adapter knows.

    Silent where the package is not there for this Python, or too new for it.
    """
    if (getattr(error, "name", None) or "").startswith("realm_telemetry"):
        return
    try:
        from realm_telemetry.integrations.training import warn_of_version

        warn_of_version(name.partition(".")[0], repr(error))
    except Exception:
        pass


def _chain():
    """Run the sitecustomize that would have been found without this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    own = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if own is not None:
            sys.modules["sitecustomize"] = own
        if getattr(error, "name", None) != "sitecustomize":
            raise


if os.environ.get("REALM_RUN_REPORTS"):
    try:
        _install()
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
            sys.meta_path.insert(0, _Finder())
    except Exception:
        pass
_chain()

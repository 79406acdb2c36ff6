"""Trainings with accelerate as runs: a tracker by the name of `realm`.

import realm_telemetry.integrations.accelerate  # not needed below `realm run`

accelerator = Accelerator(log_with="realm")
accelerator.init_trackers("my_project", config={"lr": 1e-3})
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import ModuleType
from typing import Any, Final

from accelerate import tracking
from accelerate.tracking import GeneralTracker

from realm_telemetry.integrations.training import (
    Story,
    harmless,
    parameters_of,
    warn_of_version,
)
from realm_telemetry.producer.steps import next_step

FRAMEWORK: Final = "accelerate"
_MARK: Final = "__realm__"


class RealmTracker(GeneralTracker):  # type: ignore[misc]  # of a package that is not installed here
    """Tells the story of what an Accelerator logs.

    run_name: the project, which the run's configuration has.
    """

    name = "realm"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, run_name: str = "", **kwargs: Any) -> None:
        super().__init__()
        self._project = str(run_name)
        self._story = Story(FRAMEWORK)
        self._is_described = False

    @property
    def tracker(self) -> Story:
        """What tells the story."""
        return self._story

    @harmless(FRAMEWORK)
    def start(self) -> None:
        """Begin the run."""
        from accelerate.accelerator import Accelerator
        from accelerate.state import AcceleratorState

        _watch(Accelerator)
        state = AcceleratorState()
        started = {
            "model": self._project or None,
            "device": str(state.device),
            "precision": str(state.mixed_precision),
            "world_size": int(state.num_processes),
        }
        given = {name: value for name, value in started.items() if value is not None}
        self._story.begin(given, {}, is_first_rank=bool(state.is_main_process))

    @harmless(FRAMEWORK)
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Record the configuration."""
        self._story.config(values)

    @harmless(FRAMEWORK)
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record what was logged; without a step it is the one after the last."""
        number = next_step() if step is None else int(step)
        if self._story.is_first_rank:
            self._story.log(values, number)
            self._story.step(number, is_logged=True)

    @harmless(FRAMEWORK)
    def prepared(self, models: Sequence[Any]) -> None:
        """Record what is trained, once the first values of it are logged."""
        if models and not self._is_described:
            self._is_described = True
            counts = [parameters_of(model) for model in models]
            known = [count for count in counts if count is not None]
            names = ", ".join(type(model).__name__ for model in models)
            self._story.config({"model": names, "parameters": sum(known) if known else None})

    @harmless(FRAMEWORK)
    def saved(self, path: Any) -> None:
        """`save_state` wrote a checkpoint."""
        self._story.checkpoint_saved(path)

    @harmless(FRAMEWORK)
    def loaded(self, path: Any) -> None:
        """`load_state` read a checkpoint; which step it is of, only the program knows."""
        self._story.resumed(path=path)

    @harmless(FRAMEWORK)
    def finish(self) -> None:
        """End the run."""
        self._story.end()


def _watch(accelerator: Any) -> None:
    """Let an Accelerator say what it saved, loaded and prepared, as soon as that is so."""
    for name, hook in (("save_state", _saved), ("load_state", _loaded), ("log", _logs)):
        method = getattr(accelerator, name, None)
        if method is None:
            warn_of_version(FRAMEWORK, f"it has no Accelerator.{name}")
        elif not hasattr(method, _MARK):
            setattr(accelerator, name, _watched(method, hook))


def _watched(method: Any, hook: Callable[..., None]) -> Any:
    @wraps(method)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        for tracker in getattr(self, "trackers", ()):
            if isinstance(tracker, RealmTracker):
                hook(self, tracker, result, *args, **kwargs)
        return result

    setattr(watched, _MARK, True)
    return watched


def _saved(_of: Any, tracker: RealmTracker, path: Any, *_: Any, **__: Any) -> None:
    if path is not None:
        tracker.saved(path)


def _loaded(
    _of: Any, tracker: RealmTracker, _none: Any, input_dir: Any = None, *_: Any, **__: Any
) -> None:
    tracker.loaded(input_dir)


def _logs(accelerator: Any, tracker: RealmTracker, *_: Any, **__: Any) -> None:
    tracker.prepared(getattr(accelerator, "_models", ()))


def install(module: ModuleType) -> None:
    """Let `log_with="realm"` mean this tracker.

    module: `accelerate.tracking`, which has been executed.
    Where telemetry is off the name is known too, or programs that use it would fail.
    """
    if not hasattr(module, "register_tracker_class"):
        warn_of_version(FRAMEWORK, "it has no register_tracker_class")
    elif RealmTracker.name not in module.LOGGER_TYPE_TO_CLASS:
        module.register_tracker_class(RealmTracker)


install(tracking)

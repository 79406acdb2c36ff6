"""Trainings with accelerate as runs: a tracker by the name of `realm`.

import realm_telemetry.integrations.accelerate  # not needed below `realm run`

accelerator = Accelerator(log_with="realm")
accelerator.init_trackers("my_project", config={"lr": 1e-3})
"""

from collections.abc import Mapping
from functools import wraps
from types import ModuleType
from typing import Any, Final

from accelerate import tracking
from accelerate.tracking import GeneralTracker

from realm_telemetry.integrations.training import Story, harmless, is_off, warn_of_version
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
    def saved(self, path: Any) -> None:
        """`save_state` wrote a checkpoint."""
        self._story.checkpoint_saved(path)

    @harmless(FRAMEWORK)
    def finish(self) -> None:
        """End the run."""
        self._story.end()


def _watch(accelerator: Any) -> None:
    """Let `Accelerator.save_state` say what it wrote."""
    save = accelerator.save_state
    if hasattr(save, _MARK):
        return

    @wraps(save)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        path = save(self, *args, **kwargs)
        for tracker in getattr(self, "trackers", []):
            if isinstance(tracker, RealmTracker) and path is not None:
                tracker.saved(path)
        return path

    setattr(watched, _MARK, True)
    accelerator.save_state = watched


def install(module: ModuleType) -> None:
    """Let `log_with="realm"` mean this tracker.

    module: `accelerate.tracking`, which has been executed.
    """
    if is_off():
        return
    if not hasattr(module, "register_tracker_class"):
        warn_of_version(FRAMEWORK, "it has no register_tracker_class")
    elif RealmTracker.name not in module.LOGGER_TYPE_TO_CLASS:
        module.register_tracker_class(RealmTracker)


install(tracking)

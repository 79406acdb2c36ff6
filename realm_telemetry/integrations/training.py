"""What the adapters of training frameworks share: the story of one training, told as events.

    story.begin(...) -> step, log, evaluation, checkpoint ... -> end or fail

The first rank tells steps, values and checkpoints; the others begin and end their part, and show
their step in memory. A framework never meets an exception of ours: see `harmless`.
"""

import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from time import time_ns
from typing import Any, Final, ParamSpec, TypeVar

from realm_telemetry.errors import warn_once
from realm_telemetry.producer import runs
from realm_telemetry.producer.context import base
from realm_telemetry.producer.emission import emit
from realm_telemetry.producer.step_loop import StepLimit
from realm_telemetry.producer.steps import log, set_up_unless_done
from realm_telemetry.values.clock import monotonic
from realm_telemetry.values.conversions import to_json_value
from realm_telemetry.values.exceptions import traceback_text

MAX_TRACEBACK_CHARS: Final = 16_000
MAX_CONFIG: Final = 80
"""Settings kept of a trainer; an event has at most 96 details."""
_MAX_FILES: Final = 10_000

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def is_off() -> bool:
    """Whether telemetry is switched off for this process, so that adapters do nothing."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def version_of(framework: str) -> str:
    """Return the version of a framework that is imported."""
    return str(getattr(sys.modules.get(framework), "__version__", "of unknown version"))


def warn_of_version(framework: str, problem: object) -> None:
    """Warn, once a framework, that this version of it is another than the adapter knows."""
    warn_once(
        f"adapter of {framework}",
        f"{framework} {version_of(framework)} is not quite what its adapter knows, so that some of"
        f" its training is not recorded: {problem}",
    )


def harmless(
    framework: str, *, each_step: bool = False
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result | None]]:
    """Let a hook of a framework do nothing where telemetry is off, and never raise into it.

    each_step: it does nothing by itself while no training is open, and none is where telemetry is
        off: it needs no look at the environment, which takes 1 us.
    """

    def decorate(hook: Callable[Arguments, Result]) -> Callable[Arguments, Result | None]:
        @wraps(hook)
        def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
            if not each_step and is_off():
                return None
            try:
                return hook(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the framework's objects, of any version
                warn_of_version(framework, f"{hook.__name__}: {error!r}")
                return None

        return guarded

    return decorate


def bytes_of(path: str | os.PathLike[str]) -> int | None:
    """Return the size of a file, or of all files below a directory; None where there is none."""
    if os.path.isfile(path):  # noqa: PTH113 - any kind of path
        return os.stat(path).st_size  # noqa: PTH116
    total, files = 0, 0
    for directory, _, names in os.walk(path):
        for name in names[: _MAX_FILES - files]:
            total += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118
            files += 1
    return total if files else None


def parameters_of(model: Any) -> int | None:
    """Return how many parameters a model of torch has; None while it does not know itself."""
    try:
        return sum(int(each.numel()) for each in model.parameters())
    except (AttributeError, ValueError, RuntimeError):  # lazy ones have no shape yet
        return None


class Story:
    """The story of the trainings of one trainer.

    framework: its name, as its package is called.
    is_open: whether a training has begun and not ended.
    is_first_rank: whether this process tells steps, values and checkpoints.
    """

    def __init__(self, framework: str) -> None:
        self.framework = framework
        self.is_open = False
        self.is_first_rank = True
        self._limit = StepLimit()
        self._step = 0
        self._counted = (0, 0.0)
        self._loss: Any = None

    @property
    def run_id(self) -> str | None:
        """The run that the training is a part of."""
        return base.run_id

    def begin(
        self,
        started: Mapping[str, Any],
        config: Mapping[str, Any],
        *,
        step: int = 0,
        is_first_rank: bool = True,
        resumed_run: str | None = None,
    ) -> None:
        """A training begins: run, start and configuration.

        started: what is trained, with what and how long: model, parameters, devices, total_steps.
        step: above 0 where it goes on from a checkpoint.
        resumed_run: the run that the checkpoint is of; it goes on, unless this one has a name.
        """
        set_up_unless_done()
        if resumed_run is not None and step > 0:
            runs.go_on_with(resumed_run)
        self.is_open, self.is_first_rank, self._step = True, is_first_rank, step
        self._counted, self._loss = (step, monotonic()), None
        if not is_first_rank:
            runs.begin_unless_open()
            runs.show_step(step, time_ns())
            return
        version = version_of(self.framework)
        emit(
            "training_started",
            details={"framework": self.framework, "framework_version": version, **started},
        )
        if step > 0:
            self.resumed(step, run=resumed_run)
        self.config(config)

    def resumed(
        self,
        step: int | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        run: str | None = None,
    ) -> None:
        """The training goes on from a checkpoint, at a step, a path or of a run that are known."""
        if step is not None:
            self._step, self._counted = step, (step, monotonic())
        if self.is_first_rank:
            found = {
                "step": step,
                "path": None if path is None else os.path.abspath(path),  # noqa: PTH100
                "run_resumed": run if run != self.run_id else None,
            }
            given = {name: value for name, value in found.items() if value is not None}
            emit("training_resumed", details=given)

    def config(self, config: Mapping[str, Any]) -> None:
        """Record settings of the training, those that are None left out."""
        kept = {str(name): value for name, value in config.items() if value is not None}
        if kept and self.is_first_rank:
            emit("run_config", details=dict(list(kept.items())[:MAX_CONFIG]))

    def step(self, step: int, *, is_logged: bool = False) -> None:
        """A step is done; is_logged: whether the framework will log its values by itself."""
        if not self.is_open:
            return
        self._step = step
        runs.show_step(step, time_ns())
        if self.is_first_rank and not is_logged and self._limit.passes():
            before, since_s = self._counted
            now_s = monotonic()
            speed = round((step - before) / max(now_s - since_s, 1e-9), 4)
            self._counted = (step, now_s)
            log({"steps_per_second": speed}, step)

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """The framework logged values: all of them are recorded, however often."""
        if self.is_first_rank and values:
            set_up_unless_done()
            self._loss = values.get("loss", self._loss)
            log({str(name): value for name, value in values.items()}, self._at(step))

    def evaluation_started(self, step: int | None = None) -> None:
        """An evaluation begins."""
        if self.is_first_rank:
            set_up_unless_done()
            emit("evaluation_started", step=self._at(step))

    def evaluation_finished(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """An evaluation is done, with these values."""
        if self.is_first_rank:
            details = {str(name): value for name, value in metrics.items()}
            emit("evaluation_finished", details={"step": self._at(step), **details})

    def checkpoint_saved(self, path: str | os.PathLike[str], step: int | None = None) -> None:
        """A checkpoint is on disk: a file, or a directory."""
        if self.is_first_rank:
            found = {"path": os.path.abspath(path), "bytes": bytes_of(path), "loss": self._loss}  # noqa: PTH100
            given = {name: value for name, value in found.items() if value is not None}
            emit("checkpoint_saved", details={"step": self._at(step), **given})

    def end(self, step: int | None = None) -> None:
        """The training reached its end."""
        if self.is_open:
            self.is_open = False
            emit("training_completed", step=self._at(step))

    def fail(self, error: BaseException) -> None:
        """The training ended by an exception; Ctrl-C is no failure, and an exit says its own."""
        if not self.is_open or isinstance(error, SystemExit | GeneratorExit):
            return
        self.is_open = False
        if isinstance(error, KeyboardInterrupt):
            emit("training_cancelled", step=self._step, reason="KeyboardInterrupt")
            return
        emit(
            "training_failed",
            error=to_json_value(error),
            error_type=type(error).__name__,
            traceback=traceback_text(error)[-MAX_TRACEBACK_CHARS:],
            step=self._step,
        )

    def terminated(self, signal: str) -> None:
        """The framework caught a signal, and leaves the process by itself, with exit code 0."""
        if self.is_open:
            self.is_open = False
            runs.note_cause(runs.Cause("killed", signal, {"signal": signal}))

    def _at(self, step: int | None) -> int:
        return self._step if step is None else step

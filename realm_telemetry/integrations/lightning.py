"""Trainings with Lightning as runs: `lightning`, and `pytorch_lightning`, its older name.

Below `realm run`, or after `realm.configure()`, nothing is needed: the Trainer finds the callback
by its entry point. Else one line:

    from realm_telemetry.integrations.lightning import RealmCallback

    trainer = Trainer(..., callbacks=[RealmCallback()])
"""

import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final

from realm_telemetry.integrations.training import Story, harmless, is_off, parameters_of
from realm_telemetry.producer.api import get_telemetry

FRAMEWORK: Final = "lightning"
OLDER: Final = "pytorch_lightning"
_PACKAGES: Final = {FRAMEWORK: "lightning.pytorch", OLDER: OLDER}
_INJECTED: Final = "REALM_RUN_REPORTS"
"""Set by `realm run` where Python programs may be adapted."""
_SAVED: Final = "realm_run"
"""The entry of a checkpoint that names its run."""
_SETTINGS: Final = (
    "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val", "precision",
    "log_every_n_steps", "check_val_every_n_epoch", "val_check_interval",
)  # fmt: skip


class _Hooks:
    """The hooks of the callback, which tell the story; no value is read but what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self._story = Story(FRAMEWORK if FRAMEWORK in sys.modules else OLDER)
        self._resumed: str | None = None
        self._is_evaluating = False
        self._held: dict[str, Any] = {}
        self._unsaid: int | None = None
        self._said: set[tuple[str, int]] = set()

    @harmless(FRAMEWORK)
    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Stand beside the loggers. Where there are none, the Trainer makes numbers of nothing."""
        self._story.is_first_rank = bool(trainer.is_global_zero)
        package = _PACKAGES[self._story.framework]
        is_there = any(isinstance(each, _Listener) for each in trainer.loggers)
        if trainer.loggers and not is_there and self is _speaker(trainer):
            trainer.loggers.append(_classes(package)[1](self._logged))

    def _logged(self, metrics: Mapping[str, Any]) -> None:
        if self._is_evaluating:
            self._held |= metrics
        else:
            self._story.log(metrics)

    @harmless(FRAMEWORK)
    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        """Learn which run goes on."""
        found = checkpoint.get(_SAVED)
        self._resumed = found if isinstance(found, str) else None

    @harmless(FRAMEWORK)
    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        """Name the run in the checkpoint, which is written next."""
        if self._story.run_id is not None:
            checkpoint[_SAVED] = self._story.run_id
        self._unsaid = int(trainer.global_step)

    @harmless(FRAMEWORK)
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the run."""
        if self is not _speaker(trainer):
            return
        hparams = getattr(pl_module, "hparams_initial", None) or {}
        settings = {name: getattr(trainer, name, None) for name in _SETTINGS}
        self._story.begin(
            _started(trainer, pl_module),
            {**settings, **{str(name): value for name, value in dict(hparams).items()}},
            step=int(trainer.global_step),
            is_first_rank=bool(trainer.is_global_zero),
            resumed_run=self._resumed,
        )

    @harmless(FRAMEWORK, each_step=True)
    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        """Count the step; `outputs` stays where it is."""
        if self._story.is_open:
            step, every = int(trainer.global_step), trainer.log_every_n_steps
            is_logged = bool(trainer.loggers and every and step % every == 0)
            self._story.step(step, is_logged=is_logged)
            self._say_saved(trainer)

    @harmless(FRAMEWORK)
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin an evaluation, unless it is the check before a training."""
        if not trainer.sanity_checking and self is _speaker(trainer):
            self._is_evaluating, self._held = True, {}
            self._say_saved(trainer)
            self._story.evaluation_started(int(trainer.global_step))

    @harmless(FRAMEWORK)
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """End an evaluation, with what was logged in it."""
        if self._is_evaluating:
            held, self._held, self._is_evaluating = self._held, {}, False
            self._story.evaluation_finished(held, int(trainer.global_step))

    on_test_start, on_test_end = on_validation_start, on_validation_end

    # The Trainer profiles each callable hook of each callback, also those that do nothing.
    # Source: `_call_callback_hooks` of lightning/pytorch/trainer/call.py.
    on_train_batch_start = on_before_zero_grad = on_before_backward = None
    on_after_backward = None
    on_before_optimizer_step = on_validation_batch_start = on_validation_batch_end = None
    on_test_batch_start = on_test_batch_end = None
    on_predict_batch_start = on_predict_batch_end = None

    @harmless(FRAMEWORK)
    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """End the run, after the last checkpoint."""
        self._say_saved(trainer)
        self._story.end(int(trainer.global_step))

    @harmless(FRAMEWORK)
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the run; Ctrl-C and SIGTERM come here too."""
        self._is_evaluating = False
        self._say_saved(trainer)
        # Lightning has a handler for SIGTERM: it ends the training with an exit, whose code is 0.
        if isinstance(exception, SystemExit) and getattr(trainer, "received_sigterm", False):
            self._story.terminated("SIGTERM")
        else:
            self._story.fail(exception)

    def _say_saved(self, trainer: Any) -> None:
        """Record the checkpoints that have been written since it was asked last."""
        step, self._unsaid = self._unsaid, None
        if step is None or not self._story.is_open:
            return
        for each in trainer.checkpoint_callbacks:
            path = str(getattr(each, "_last_checkpoint_saved", "") or "")
            if path and (path, step) not in self._said and os.path.exists(path):  # noqa: PTH110
                self._said.add((path, step))
                self._story.checkpoint_saved(path, step)


class _Listener:
    """The logger that hears what the others are given."""

    name = "realm"
    version = ""

    def __init__(self, logged: Any) -> None:
        super().__init__()
        self._logged = logged

    @harmless(FRAMEWORK)
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Take what the Trainer has made numbers of."""
        self._logged(dict(metrics))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """They are in `run_config`."""


@cache
def _classes(package: str) -> tuple[type[Any], type[Any]]:
    """Return callback and logger as classes of one of the packages, whose bases differ."""
    callback = import_module(f"{package}.callbacks").Callback
    logger = import_module(f"{package}.loggers.logger").Logger
    return (
        type("RealmCallback", (_Hooks, callback), {"__module__": __name__}),
        type("RealmLogger", (_Listener, logger), {"__module__": __name__}),
    )


def __getattr__(name: str) -> Any:
    """Make `RealmCallback` for the package that is imported, `lightning` if both are."""
    if name != "RealmCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    is_older = OLDER in sys.modules and _PACKAGES[FRAMEWORK] not in sys.modules
    return _classes(_PACKAGES[OLDER if is_older else FRAMEWORK])[0]


def _speaker(trainer: Any) -> Any:
    """The callback that tells the story, where code and entry point gave one each."""
    return next((each for each in trainer.callbacks if isinstance(each, _Hooks)), None)


def _started(trainer: Any, module: Any) -> dict[str, Any]:
    found = {
        "model": type(module).__name__,
        "total_steps": _total_steps(trainer),
        "parameters": parameters_of(module),
        "device": type(trainer.accelerator).__name__,
        "devices": trainer.num_devices,
        "precision": str(trainer.precision),
        "world_size": trainer.world_size,
    }
    return {name: value for name, value in found.items() if value is not None}


def _total_steps(trainer: Any) -> int | None:
    if trainer.max_steps and trainer.max_steps > 0:
        return int(trainer.max_steps)
    batches, epochs = trainer.num_training_batches, trainer.max_epochs
    if batches == float("inf") or not epochs or epochs < 0:
        return None
    return int(-(-batches // max(trainer.accumulate_grad_batches, 1)) * epochs)


@harmless(FRAMEWORK)
def _callbacks(package: str) -> list[Any]:
    is_wanted = bool(os.environ.get(_INJECTED)) or get_telemetry() is not None
    return [_classes(package)[0]()] if is_wanted and not is_off() else []


def lightning_callbacks() -> list[Any]:
    """Return what the entry point gives each Trainer of `lightning`: ours, if it is wanted."""
    return _callbacks(_PACKAGES[FRAMEWORK]) or []


def pytorch_lightning_callbacks() -> list[Any]:
    """Return the same for `pytorch_lightning`."""
    return _callbacks(_PACKAGES[OLDER]) or []

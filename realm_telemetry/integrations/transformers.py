"""Trainings with the Trainer of transformers, and of what builds on it (TRL), as runs.

Below `realm run` nothing is needed. Without it one line:

    from realm_telemetry.integrations.transformers import RealmCallback

    trainer = Trainer(..., callbacks=[RealmCallback()])

or `report_to="realm"` among the arguments, once this module is imported.
"""

import dataclasses
import os
from collections.abc import Mapping
from functools import wraps
from types import ModuleType
from typing import Any, Final

from transformers.trainer_callback import TrainerCallback

from realm_telemetry.integrations.training import (
    Story,
    harmless,
    is_off,
    parameters_of,
    warn_of_version,
)
from realm_telemetry.kinds.typed import note

FRAMEWORK: Final = "transformers"
_STATE: Final = "realm_run"
"""The entry of `trainer_state.json` that names the run of a checkpoint."""
_ALWAYS: Final = (
    "learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps",
    "num_train_epochs", "max_steps", "weight_decay", "warmup_steps", "lr_scheduler_type", "optim",
    "seed", "max_grad_norm",
)  # fmt: skip
"""Arguments that are recorded where they have their defaults, too."""
_MARK: Final = "__realm__"


class RealmCallback(TrainerCallback):  # type: ignore[misc]  # of a package that is not installed here
    """Tells the story of each training of a Trainer.

    It reads what the Trainer has logged, which is numbers by then, and no value on a device.
    """

    def __init__(self) -> None:
        self._story = Story(FRAMEWORK)
        self._is_evaluating = False
        self._held: dict[str, Any] = {}
        self._noted = False

    @harmless(FRAMEWORK)
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the run; a second time within one `train`, a smaller batch size is tried."""
        if self._story.is_open:
            return
        step = int(state.global_step)
        saved = state.stateful_callbacks if isinstance(state.stateful_callbacks, dict) else {}
        resumed = (saved.get(_STATE) or {}).get("attributes", {}).get("run_id")
        self._story.begin(
            _started(args, state, kwargs.get("model")),
            {**_arguments(args), **_model_config(kwargs.get("model"))},
            step=step,
            is_first_rank=bool(state.is_world_process_zero),
            resumed_run=resumed,
        )
        # Written into each checkpoint of this training; Trainer reads back what it knows.
        saved[_STATE] = {"args": {}, "attributes": {"run_id": self._story.run_id}}
        state.stateful_callbacks = saved
        if state.is_world_process_zero and getattr(args, "logging_nan_inf_filter", False):
            self._note_filter()

    def _note_filter(self) -> None:
        if not self._noted:
            self._noted = True
            note(
                "transformers leaves NaN and infinite losses out of the loss that it logs "
                "(logging_nan_inf_filter=True): a grad_norm that is not finite shows them"
            )

    @harmless(FRAMEWORK, each_step=True)
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the step; what is logged of it comes as an event of its own."""
        self._story.step(int(state.global_step), is_logged=bool(control.should_log))

    @harmless(FRAMEWORK)
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Record what was logged; what is logged of an evaluation waits for its end."""
        if not state.is_world_process_zero or not logs:
            return
        if self._is_evaluating:
            self._held |= logs
        else:
            self._story.log(logs, int(state.global_step))

    @harmless(FRAMEWORK)
    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin an evaluation at its first batch."""
        if not self._is_evaluating and state.is_world_process_zero:
            self._is_evaluating = True
            self._story.evaluation_started(int(state.global_step))

    @harmless(FRAMEWORK)
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """End an evaluation."""
        self._finish(metrics or {}, state)

    @harmless(FRAMEWORK)
    def on_predict(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """End a prediction, which is an evaluation on other data."""
        self._finish(metrics or {}, state)

    def _finish(self, metrics: Mapping[str, Any], state: Any) -> None:
        held, self._held, self._is_evaluating = self._held, {}, False
        if not state.is_world_process_zero:
            return
        self._story.evaluation_finished(metrics, int(state.global_step))
        others = {name: held[name] for name in held if name not in metrics and name != "epoch"}
        self._story.log(others, int(state.global_step))

    @harmless(FRAMEWORK)
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the checkpoint that was written."""
        step = int(state.global_step)
        path = os.path.join(args.output_dir, f"checkpoint-{step}")  # noqa: PTH118
        if state.is_world_process_zero and os.path.isdir(path):  # noqa: PTH112
            self._story.checkpoint_saved(path, step)

    @harmless(FRAMEWORK)
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run."""
        self._story.end(int(state.global_step))

    @harmless(FRAMEWORK)
    def failed(self, error: BaseException) -> None:
        """`train` raised."""
        self._held, self._is_evaluating = {}, False
        self._story.fail(error)


def _started(args: Any, state: Any, model: Any) -> dict[str, Any]:
    found = {
        "model": _model_name(model),
        "total_steps": int(state.max_steps) or None,
        "epochs": args.num_train_epochs,
        "learning_rate": args.learning_rate,
        "batch_size": getattr(args, "train_batch_size", None),
        "parameters": parameters_of(model),
        "device": str(getattr(args, "device", "")) or None,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32",
        "world_size": getattr(args, "world_size", None),
    }
    return {name: value for name, value in found.items() if value is not None}


def _model_name(model: Any) -> str:
    name = getattr(getattr(model, "config", None), "_name_or_path", "")
    return f"{type(model).__name__} ({name})" if name else type(model).__name__


def _arguments(args: Any) -> dict[str, Any]:
    """The arguments that are not at their defaults, and those that everybody asks for."""
    given = args.to_sanitized_dict() if hasattr(args, "to_sanitized_dict") else args.to_dict()
    # Tokens are masked by name in both.
    default = {field.name: field.default for field in dataclasses.fields(args)}
    found = {name: given[name] for name in _ALWAYS if name in given}
    for name, value in given.items():
        if name not in found and not _is_default(getattr(args, name, value), default.get(name)):
            found[name] = value
    return found


def _is_default(value: Any, default: Any) -> bool:
    return value is None or value == default or value in ([], {}, "")


def _model_config(model: Any) -> dict[str, Any]:
    config = getattr(model, "config", None)
    diff = getattr(config, "to_diff_dict", None)
    return {"model_config": diff()} if diff is not None else {}


def _our_callbacks(trainer: Any) -> list[RealmCallback]:
    callbacks = getattr(getattr(trainer, "callback_handler", None), "callbacks", [])
    return [each for each in callbacks if isinstance(each, RealmCallback)]


def _watch(trainer: Any) -> None:
    """Let `Trainer.train` say how it ended, to the callbacks of the trainer that are ours."""
    train = trainer.train
    if hasattr(train, _MARK):
        return

    @wraps(train)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return train(self, *args, **kwargs)
        except BaseException as error:
            for callback in _our_callbacks(self):
                callback.failed(error)
            raise

    setattr(watched, _MARK, True)
    trainer.train = watched


def register() -> None:
    """Let `report_to="realm"` mean this callback.

    Where telemetry is off too, or programs that say so would fail; it does nothing then.
    """
    try:
        from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
        from transformers.trainer import Trainer

        INTEGRATION_TO_CALLBACK.setdefault("realm", RealmCallback)
        if not is_off():
            _watch(Trainer)
    except (ImportError, AttributeError) as error:
        warn_of_version(FRAMEWORK, repr(error))


def install(module: ModuleType) -> None:
    """Give each Trainer the callback, below `realm run`.

    module: `transformers.trainer`, which has just been executed.
    """
    trainer = getattr(module, "Trainer", None)
    if trainer is None or not hasattr(trainer, "add_callback"):
        warn_of_version(FRAMEWORK, "it has no Trainer.add_callback")
        return
    begin = trainer.__init__
    if is_off() or hasattr(begin, _MARK):
        return

    @wraps(begin)
    def with_callback(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        _add(self)

    setattr(with_callback, _MARK, True)
    trainer.__init__ = with_callback


@harmless(FRAMEWORK)
def _add(trainer: Any) -> None:
    if not _our_callbacks(trainer):
        trainer.add_callback(RealmCallback())


register()

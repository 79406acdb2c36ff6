"""Trainings with `Model.fit` of keras as runs.

Below `realm run` nothing is needed. Without it one line:

    from realm_telemetry.integrations.keras import RealmCallback

    model.fit(..., callbacks=[RealmCallback()])
"""

import os
import sys
from collections.abc import Mapping
from functools import wraps
from types import ModuleType
from typing import Any, Final

from keras.src.callbacks.callback import Callback

from realm_telemetry.integrations.training import Story, harmless, is_off, warn_of_version

FRAMEWORK: Final = "keras"
_MARK: Final = "__realm__"
_CALLBACKS_AT: Final = 6
"""Where `callbacks` stands among the arguments of `fit` behind the model."""


class RealmCallback(Callback):  # type: ignore[misc]  # of a package that is not installed here
    """Tells the story of each `fit`.

    The values are those of an epoch: keras has made numbers of them by then. Those of a batch may
    be on a device still, and are left there.
    """

    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self._story = Story(FRAMEWORK)
        self._step = 0
        self._is_begun = False

    @harmless(FRAMEWORK)
    def on_train_begin(self, logs: Any = None) -> None:
        """Begin the run."""
        model, given = self._model, self.params or {}
        steps, epochs = given.get("steps"), given.get("epochs")
        self._step, self._is_begun = 0, False
        started = {
            "model": str(getattr(model, "name", type(model).__name__)),
            "total_steps": steps * epochs if steps and epochs else None,
            "epochs": epochs,
            "parameters": _parameters(model),
            "precision": str(getattr(getattr(model, "dtype_policy", None), "name", "")) or None,
            **_machinery(),
        }
        self._story.begin(
            {name: value for name, value in started.items() if value is not None},
            {"steps_per_epoch": steps, "epochs": epochs, **_compiled(model)},
        )

    @harmless(FRAMEWORK)
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Learn from the first epoch, which is numbered from 0, whether a training goes on."""
        if epoch > 0 and not self._is_begun:
            self._step = epoch * int((self.params or {}).get("steps") or 0)
            self._story.resumed(self._step or None)
        self._is_begun = True

    @harmless(FRAMEWORK, each_step=True)
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step; its values stay where they are."""
        self._step += 1
        self._story.step(self._step)

    @harmless(FRAMEWORK)
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record what keras says of an epoch."""
        values = {name: value for name, value in (logs or {}).items() if not _is_validation(name)}
        self._story.log({**values, "epoch": epoch + 1}, self._step)
        found = {name: value for name, value in (logs or {}).items() if _is_validation(name)}
        if found:
            self._story.evaluation_finished(found, self._step)

    @harmless(FRAMEWORK)
    def on_test_begin(self, logs: Any = None) -> None:
        """Begin an evaluation."""
        self._story.evaluation_started(self._step)

    @harmless(FRAMEWORK)
    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End an evaluation outside of `fit`; inside, the epoch's end has its values."""
        if logs and not self._story.is_open:
            self._story.evaluation_finished(logs, self._step)

    @harmless(FRAMEWORK)
    def on_train_end(self, logs: Any = None) -> None:
        """End the run."""
        self._story.end(self._step)

    @harmless(FRAMEWORK)
    def saved(self, path: Any) -> None:
        """A `ModelCheckpoint` wrote a file."""
        if os.path.exists(path):  # noqa: PTH110 - any kind of path
            self._story.checkpoint_saved(path, self._step)

    @harmless(FRAMEWORK)
    def failed(self, error: BaseException) -> None:
        """`fit` raised."""
        self._story.fail(error)


def _is_validation(name: str) -> bool:
    return str(name).startswith("val_")


def _parameters(model: Any) -> int | None:
    try:
        return int(model.count_params())
    except ValueError:  # it is built with the first batch
        return None


def _machinery() -> dict[str, Any]:
    """Where keras computes, as far as this version of it and this backend say."""
    try:
        import keras

        backend = str(keras.backend.backend())
        if backend == "torch":  # which has one device a process
            from keras.src.backend.torch.core import get_device

            devices = [get_device()]
        else:
            devices = keras.distribution.list_devices()
        found = {"backend": backend, "device": str(devices[0]), "devices": len(devices)}
    except (ImportError, AttributeError, IndexError):
        found = {}
    return found | {"world_size": int(os.environ.get("WORLD_SIZE") or 1)}


def _compiled(model: Any) -> dict[str, Any]:
    """What `compile` was given, as keras writes it into a saved model."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return {}
    found = {
        str(name): value
        for name, value in optimizer.get_config().items()
        if isinstance(value, int | float | str)
    }
    return found | {"optimizer": type(optimizer).__name__}


def _ours(callbacks: Any) -> list[RealmCallback]:
    found = getattr(callbacks, "callbacks", callbacks)
    found = found if isinstance(found, list | tuple) else [found]
    return [each for each in found if isinstance(each, RealmCallback)]


def _watch(model: Any, *, adds: bool) -> None:
    """Let `fit` say how it ended, and `save` what it wrote; adds: give each `fit` a callback."""
    fit = model.fit

    @wraps(fit)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        if adds and len(args) < _CALLBACKS_AT and not is_off():
            kwargs = _with_ours(kwargs)
        ours = _ours(kwargs.get("callbacks"))
        self.__dict__.setdefault(_MARK, []).extend(ours)
        try:
            return fit(self, *args, **kwargs)
        except BaseException as error:
            for callback in ours:
                callback.failed(error)
            raise
        finally:
            self.__dict__.pop(_MARK, None)

    model.fit = watched
    for name in ("save", "save_weights"):
        setattr(model, name, _saying(getattr(model, name)))


def _with_ours(kwargs: dict[str, Any]) -> dict[str, Any]:
    given = kwargs.get("callbacks")
    if _ours(given) or hasattr(given, "callbacks"):
        return kwargs
    listed = list(given) if isinstance(given, list | tuple) else [given] if given else []
    return {**kwargs, "callbacks": [*listed, RealmCallback()]}


def _saying(save: Any) -> Any:
    @wraps(save)
    def saying(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        result = save(self, filepath, *args, **kwargs)
        for callback in self.__dict__.get(_MARK, ()):
            callback.saved(filepath)
        return result

    return saying


def register() -> None:
    """Let `fit` and `save` be watched where no hook has done so."""
    module = sys.modules.get("keras.src.models.model")
    # Below `realm run` the hook calls `install` with the module next.
    if module is not None and not os.environ.get("REALM_RUN_REPORTS"):
        _adapt(module, adds=False)


def install(module: ModuleType) -> None:
    """Give each `fit` the callback, below `realm run`.

    module: `keras.src.models.model`, which has just been executed.
    """
    _adapt(module, adds=True)


def _adapt(module: Any, *, adds: bool) -> None:
    model = getattr(module, "Model", None)
    if is_off() or getattr(module, _MARK, False):
        return
    if not all(hasattr(model, name) for name in ("fit", "save", "save_weights")):
        warn_of_version(FRAMEWORK, "it has no Model.fit, or no Model.save")
        return
    setattr(module, _MARK, True)
    _watch(model, adds=adds)


register()

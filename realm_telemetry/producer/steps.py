"""The everyday call: `log` records the numbers of a step, whatever they are."""

from collections.abc import Mapping
from threading import local
from time import time_ns
from types import ModuleType
from typing import Any, Final

from realm_telemetry.errors import ConfigError, mistake, warn_once
from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.producer import appenders, emission, runs
from realm_telemetry.producer.api import configure_on_first_use, get_telemetry
from realm_telemetry.producer.emission import record
from realm_telemetry.values.conversions import NOT_FINITE, is_a
from realm_telemetry.values.details import clean_details, to_json_value

_WRITTEN: Final = {
    "nan": "NaN",
    "-nan": "NaN",
    "inf": "Infinity",
    "-inf": "-Infinity",
    "infinity": "Infinity",
    "-infinity": "-Infinity",
}
_LONGEST: Final = len("-infinity")
_MAX_SHOWN: Final = 4
"""Numbers shown in the message of a step without a loss."""

counting: Final = local()
"""`step`: the one that a loop over `steps` in this thread is at; None outside of them."""


def log(values: Mapping[str, Any], /, step: int | None = None) -> Event:
    """Record a `training_step` with these values as details, and return the event.

    values: by name, numbers mostly; `loss` is not required. They are converted as `emit` does it:
        a tensor on a device is described, never read back.
    step: without it the one among the values, the one that a loop over `steps` is at, or the one
        after the last of this run, from 1.
    Sets the process up where `configure` has not been called. Begins a run if none is open.
    """
    set_up_unless_done()
    if not is_a(values, Mapping):
        problem = f"log() needs a mapping of names to values, got {type(values).__name__}"
        mistake(InvalidEventError(problem))
        values = {"value": values}
    given, _ = clean_details(values)
    if step is None:
        step = given["step"] if "step" in given else _step_here()
    details = {"step": to_json_value(step)} | {
        name: value if value.__class__ is not str else _written(value)
        for name, value in given.items()
        if name != "step"
    }
    return record("training_step", _message(details), details)


def run_config(**fields: Any) -> Event:
    """Record the settings of a run, by name: learning rate, batch size ...; return the event.

    Sets the process up, and begins its run, as `log` does.
    """
    set_up_unless_done()
    return emission.emit("run_config", **fields)


def progress(step: int) -> None:
    """Publish the step that this process has reached, without an event; in about 0.3 us.

    For ranks whose steps are recorded by another one: their shipper then sees which rank stands
    still. Sets the process up, and begins its run, as the first event would.
    """
    set_up_unless_done()
    runs.begin_unless_open()
    if step is None or not runs.show_step(step, time_ns()):
        mistake(InvalidEventError(f"progress() needs a whole number, got {to_json_value(step)!r}"))


def set_up_unless_done() -> None:
    """Set the process up where `configure` has not been called; warns where it cannot be."""
    if get_telemetry() is not None or isinstance(appenders.current, appenders.Ended):
        return
    try:
        configure_on_first_use()
    except (ConfigError, OSError) as error:
        warn_once(str(error), f"this process could not be set up: {error}")


def _written(text: str) -> str:
    """Return text that is how programs write a number that is not finite as that number."""
    return text if len(text) > _LONGEST else _WRITTEN.get(text.lower().lstrip("+"), text)


def _step_here() -> int:
    step: int | None = getattr(counting, "step", None)
    return next_step() if step is None else step


def next_step() -> int:
    """Return the step after the last event of this run, from 1."""
    last = emission.run.last.get("step", 0)
    return last + 1 if isinstance(last, int) else 1


def _message(details: Mapping[str, Any]) -> str | None:
    """Return what a step without a loss says; None for the template of `training_step`."""
    if details.get("loss") is not None:
        return None
    named = ((name, _number(value)) for name, value in details.items() if name != "step")
    shown = [f"{name} {number}" for name, number in named if number is not None]
    step = details["step"]
    head = f"Step {step:,}" if isinstance(step, int) else f"Step {step}"
    return f"{head}: {', '.join(shown[:_MAX_SHOWN])}" if shown else head


def _number(value: Any) -> str | None:
    """A number as people read it; None for what is none."""
    if isinstance(value, str):
        return value if value in NOT_FINITE else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.4g}" if is_number else None


class CallableModule(ModuleType):
    """The package `realm_telemetry.log`, which is called like the function of the same name."""

    __call__ = staticmethod(log)

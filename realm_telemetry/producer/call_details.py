"""The details of an event from a function's arguments and its result."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from realm_telemetry.values.limits import MAX_DETAILS, MAX_NAMES

_RECEIVERS: Final = ("self", "cls")
_FIELD_NAMES: Final = ("__dataclass_fields__", "__struct_fields__")


class Parameters:
    """The names of a function's parameters.

    positional: those that may be given by position, in order, the receiver included.
    """

    def __init__(self, positional: Sequence[str], defaults: Mapping[str, Any]) -> None:
        self.positional = tuple(positional)
        self.defaults = dict(defaults)
        self.receiver = positional[0] if positional and positional[0] in _RECEIVERS else None

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name; those of `*args` have none."""
        given = {**self.defaults, **dict(zip(self.positional, args, strict=False)), **kwargs}
        if self.receiver is not None:
            given.pop(self.receiver, None)
        return given


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Return the parameters of a callable; none where it does not tell."""
    # Not at the top: it would be a fifth of the time that importing the package takes.
    from inspect import Parameter, signature

    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return Parameters((), {})
    by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return Parameters(
        [each.name for each in parameters if each.kind in by_position],
        {each.name: each.default for each in parameters if each.default is not Parameter.empty},
    )


class CallDetails:
    """Makes the details of one call: arguments, then the result's fields, then fixed ones."""

    def __init__(
        self, parameters: Parameters, include: Iterable[str] | None, fixed: Mapping[str, Any]
    ) -> None:
        self._parameters = parameters
        self._include = None if include is None else frozenset(include)
        self._fixed = dict(fixed)

    def __call__(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> dict[str, Any]:
        """Return the details, those that are None left out."""
        found = self._parameters.arguments(args, kwargs) | result_fields(result)
        if self._include is not None:
            found = {name: value for name, value in found.items() if name in self._include}
        return {name: value for name, value in (found | self._fixed).items() if value is not None}


def result_fields(result: Any) -> dict[str, Any]:
    """Return the fields of a mapping, dataclass, struct or namedtuple; of others none."""
    if result is None:
        return {}
    if isinstance(result, Mapping):
        # A result may be huge, a state dict for one; the rest would be cut anyway.
        return {str(key): result[key] for key in islice(result, MAX_DETAILS + MAX_NAMES)}
    kind = type(result)
    attributes = ("_fields",) if isinstance(result, tuple) else _FIELD_NAMES
    names = next((getattr(kind, each) for each in attributes if hasattr(kind, each)), ())
    return {name: getattr(result, name) for name in names if hasattr(result, name)}

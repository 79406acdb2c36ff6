"""The typed helpers agree with the catalog."""

import inspect
from string import Formatter
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest

import realm_telemetry
from realm_telemetry.event import Event
from realm_telemetry.kinds import catalog
from realm_telemetry.kinds import typed as kinds
from realm_telemetry.producer import steps

HELPERS = {
    name: helper
    for name, helper in inspect.getmembers(kinds, inspect.isfunction)
    if helper.__module__ == kinds.__name__ and not name.startswith("_")
}
SAMPLES = {str: "x1", int: 3, float: 0.5, dict[str, Any]: {"oom_kills": 1}}


@pytest.fixture(autouse=True)
def emitted(monkeypatch):
    """Events are kept by the buffer that holds them before `configure`; collect them too."""
    events = []
    real = kinds.emit

    def emit(*args: Any, **kwargs: Any) -> Event:
        event: Event = real(*args, **kwargs)
        events.append(event)
        return event

    monkeypatch.setattr(kinds, "emit", emit)
    return events


def parameters(kind):
    return {
        name: parameter
        for name, parameter in inspect.signature(HELPERS[kind]).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def sample(hint):
    choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return next(SAMPLES[choice] for choice in choices if choice in SAMPLES)


def arguments(kind, *, required_only):
    hints = get_type_hints(HELPERS[kind])
    return {
        name: sample(hints[name])
        for name, parameter in parameters(kind).items()
        if parameter.default is parameter.empty or not required_only
    }


def template_fields(template):
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_kind_has_exactly_one_helper():
    assert set(HELPERS) == set(catalog.KIND_METADATA)


def test_every_helper_is_part_of_the_public_api():
    """All but `run_config`, which sets the process up before, as `log` does."""
    assert set(HELPERS) <= set(realm_telemetry.__all__)
    others = {name: each for name, each in HELPERS.items() if name != "run_config"}
    assert all(getattr(realm_telemetry, name) is helper for name, helper in others.items())
    assert realm_telemetry.run_config is steps.run_config


@pytest.mark.parametrize("kind", catalog.KIND_METADATA)
def test_a_helper_has_an_argument_for_each_field_of_its_message(kind):
    template = catalog.spec(kind).template
    assert template is None or template_fields(template) <= set(parameters(kind))


@pytest.mark.parametrize("kind", catalog.KIND_METADATA)
@pytest.mark.parametrize("required_only", [True, False])
def test_a_helper_emits_its_kind_with_its_arguments_and_a_whole_message(
    kind, required_only, emitted
):
    given = arguments(kind, required_only=required_only)
    event = HELPERS[kind](**given)
    assert emitted == [event]
    assert event.kind == kind
    assert (event.channel, event.severity) == catalog.KIND_METADATA[kind]
    message = given.pop("message", None)
    assert event.message == (message or catalog.render(kind, given))
    assert event.details == given
    if catalog.spec(kind).template:
        # Every field outside parentheses is required.
        assert "?" not in event.message


@pytest.mark.parametrize("kind", catalog.KIND_METADATA)
def test_a_helper_says_what_its_kind_means(kind):
    assert inspect.getdoc(HELPERS[kind]).endswith(".")
    assert "return" in HELPERS[kind].__annotations__


def test_a_helper_takes_what_emit_takes_and_further_fields():
    event = kinds.checkpoint_saved(
        7, 0.5, hero_id="dio", campaign_id="c1", source="saver", severity="info", size_mb=12
    )
    assert (event.hero_id, event.campaign_id, event.source) == ("dio", "c1", "saver")
    assert event.severity == "info"
    assert event.details == {"step": 7, "loss": 0.5, "size_mb": 12}


def test_a_helper_takes_a_message_of_ones_own():
    assert kinds.checkpoint_saved(7, 0.5, message="Saved!").message == "Saved!"
    assert kinds.note("Anything", channel="debug").message == "Anything"


def test_an_exception_is_written_as_its_type_and_message():
    event = kinds.job_failed("j1", ValueError("no such skill"))
    assert event.message == "Job j1 failed: ValueError: no such skill"
    assert event.details["error"] == "ValueError: no such skill"

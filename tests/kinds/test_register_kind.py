"""Kinds of the user's own."""

import contextlib
import threading

import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.kinds import catalog
from realm_telemetry.kinds.catalog import register_kind


@pytest.fixture(autouse=True)
def own_catalog(monkeypatch):
    """Each test has a catalog of its own."""
    for table in ("_specs", "_resolved", "_templates", "_learned"):
        monkeypatch.setattr(catalog, table, getattr(catalog, table).copy())


def gradient_exploded(**changes):
    settings = {
        "channel": "training",
        "severity": "warning",
        "message": "Gradient norm {norm:.1f}",
        "routine": False,
    }
    return register_kind("gradient_exploded", **(settings | changes))


def test_a_registered_kind_is_resolved_rendered_and_listed():
    spec = gradient_exploded()
    assert catalog.resolve("gradient_exploded") == ("training", "warning")
    assert catalog.render("gradient_exploded", {"norm": 17.25}) == "Gradient norm 17.2"
    assert catalog.kinds()[-1] == spec == catalog.spec("gradient_exploded")
    assert spec.registered


def test_a_registered_kind_may_be_routine():
    gradient_exploded(routine=True)
    assert catalog.is_routine("gradient_exploded")


def test_the_same_again_is_harmless():
    assert gradient_exploded() == gradient_exploded()


@pytest.mark.parametrize(
    "change",
    [{"channel": "eval"}, {"severity": "error"}, {"message": None}, {"routine": True}],
)
def test_other_settings_for_a_known_kind_are_an_error_and_change_nothing(change):
    first = gradient_exploded()
    with pytest.raises(ConfigError, match="already registered as channel='training'"):
        gradient_exploded(**change)
    assert catalog.spec("gradient_exploded") == first
    assert catalog.resolve("gradient_exploded") == ("training", "warning")


def test_a_built_in_kind_cannot_be_redefined():
    with pytest.raises(ConfigError, match=r"built in.*another name"):
        register_kind("checkpoint_saved", channel="checkpoint", severity="success")


@pytest.mark.parametrize(
    "kind", ["", "CamelCase", "with space", "a-b", "1st", "_a", "a_", "a__b", "größe", None, 7]
)
def test_a_kind_that_is_not_snake_case_is_refused(kind):
    with pytest.raises(ConfigError, match="snake_case"):
        register_kind(kind, channel="debug")


@pytest.mark.parametrize("kind", ["a", "loss_nan", "phase_2", "v2_ready"])
def test_snake_case_is_accepted(kind):
    assert register_kind(kind, channel="debug").kind == kind


def test_unknown_channels_and_severities_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no channel 'trianing'. Use one of system, jobs"):
        gradient_exploded(channel="trianing")
    with pytest.raises(ConfigError, match=r"no severity 'fatal'. Use one of info, success"):
        gradient_exploded(severity="fatal")


@pytest.mark.parametrize("message", ["{norm", "}", "{norm:{}", "{}", "{0}", 7])
def test_a_message_that_is_no_template_is_refused(message):
    with pytest.raises(ConfigError, match=r"Write fields|Name the detail"):
        gradient_exploded(message=message)
    assert not catalog.spec("gradient_exploded").registered


def test_of_threads_that_register_differently_exactly_one_wins():
    start = threading.Barrier(8)
    won = []

    def register(number):
        start.wait()
        with contextlib.suppress(ConfigError):
            won.append(register_kind("contested", channel="debug", message=f"from {number}"))

    threads = [threading.Thread(target=register, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [catalog.spec("contested")]
    assert catalog.render("contested", {}) == won[0].template


def learned(**changes):
    settings = {"channel": "training", "severity": "warning", "routine": True} | changes
    return catalog.KindSpec("gradient_exploded", **settings)


def test_of_learned_kinds_the_newest_word_counts():
    assert catalog.learn_kind(learned())
    assert catalog.is_routine("gradient_exploded")
    assert catalog.learn_kind(learned(routine=False, severity="error"))
    assert catalog.resolve("gradient_exploded") == ("training", "error")
    assert not catalog.is_routine("gradient_exploded")


def test_a_kind_of_this_process_wins_over_a_learned_one():
    catalog.learn_kind(learned())
    own = gradient_exploded()
    assert not catalog.learn_kind(learned())
    assert catalog.spec("gradient_exploded") == own


def test_a_built_in_or_impossible_kind_is_not_learned():
    assert not catalog.learn_kind(catalog.KindSpec("checkpoint_saved", "debug", "info"))
    assert not catalog.learn_kind(learned(channel="nowhere"))
    assert catalog.resolve("checkpoint_saved") == ("checkpoint", "success")
    assert not catalog.spec("gradient_exploded").registered

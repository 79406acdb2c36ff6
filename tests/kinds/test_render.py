"""Messages: exact where the details fit, readable where they do not, never an exception."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.kinds.catalog import KIND_METADATA, render


class Hostile:
    def __format__(self, specification):
        raise RuntimeError("no format")

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("kind", "details", "message"),
    [
        (
            "checkpoint_saved",
            {"step": 183_000, "loss": 0.234},
            "Checkpoint 183,000 saved (loss: 0.2340)",
        ),
        ("checkpoint_saved", {"step": 183_000}, "Checkpoint 183,000 saved"),
        ("checkpoint_saved", {"step": 183_000, "loss": None}, "Checkpoint 183,000 saved"),
        ("checkpoint_saved", {"step": "7k", "loss": "NaN"}, "Checkpoint 7k saved (loss: NaN)"),
        ("checkpoint_saved", {"loss": 0.5}, "Checkpoint ? saved (loss: 0.5000)"),
        ("checkpoint_saved", {}, "Checkpoint ? saved"),
        (
            "checkpoint_saved",
            {"step": numpy.int64(5_000), "loss": numpy.float32(0.5)},
            "Checkpoint 5,000 saved (loss: 0.5000)",
        ),
        ("training_step", {"step": 1_200, "loss": 1.5}, "Step 1,200: loss 1.5000"),
        (
            "eval_completed",
            {"skill": "sums", "level": 3, "accuracy": 0.925, "delta": 0.0125},
            "Eval completed (sums level 3, 92.5%, +1.2%)",
        ),
        (
            "eval_completed",
            {"skill": "sums", "level": 3, "accuracy": 0.925},
            "Eval completed (sums level 3, 92.5%)",
        ),
        ("eval_completed", {"skill": "sums", "accuracy": 0.925}, "Eval completed (92.5%)"),
        ("evaluation_started", {"step": 5_000}, "Evaluation started (step 5,000)"),
        (
            "evaluation_finished",
            {"step": 5_000, "loss": 0.31, "accuracy": 0.925},
            "Evaluation finished (step: 5000, loss: 0.31, accuracy: 0.925)",
        ),
        ("signal_received", {"signal": "SIGUSR1"}, "Signal SIGUSR1 received"),
        (
            "signal_received",
            {"signal": "SIGTERM", "sender_pid": 71},
            "Signal SIGTERM received (from pid 71)",
        ),
        ("job_failed", {"job_id": "a{b}", "error": "{x}"}, "Job a{b} failed: {x}"),
        ("note", {}, "Note"),
        ("gpu_too_hot", {"celsius": 97, "gpu": 0}, "Gpu too hot (celsius: 97, gpu: 0)"),
        (
            "gpu_too_hot",
            {"a": 1, "b": 2, "c": None, "d": 4, "e": 5, "f": 6},
            "Gpu too hot (a: 1, b: 2, d: 4, e: 5)",
        ),
        ("job_failed", {"job_id": Hostile(), "error": "x"}, "Job <Hostile> failed: x"),
        ("job_failed", None, "Job failed"),
    ],
)
def test_messages(kind, details, message):
    assert render(kind, details) == message


def test_a_long_value_that_does_not_fit_its_format_is_cut():
    message = render("checkpoint_saved", {"step": "x" * 1_000, "loss": 1.0})
    assert message == f"Checkpoint {'x' * 199}… saved (loss: 1.0000)"


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.builds(Hostile)


@given(
    st.sampled_from([*KIND_METADATA, "unknown_kind", ""]),
    st.dictionaries(st.sampled_from(["step", "loss", "job_id", "error", "skill"]), values),
)
def test_rendering_never_raises(kind, details):
    assert isinstance(render(kind, details), str)


def test_it_never_raises_for_a_number_too_long_to_write():
    assert "Checkpoint" in render("checkpoint_saved", {"step": 10**9_000, "loss": 1.0})

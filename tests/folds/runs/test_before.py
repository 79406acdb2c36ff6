"""The run before another of its kind."""

import pytest

from realm_telemetry.folds.runs.before import differences, program_of, stem_of


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("python train.py --lr 1", "train.py"),
        ("/opt/venv/bin/python3.12 -u lab/train.py", "train.py"),
        (["python", "-m", "lab.train", "--lr", "1"], "lab.train"),
        ("torchrun --standalone train.py", "train.py"),
        ("./train.sh 3", "train.sh"),
        ("python", "python"),
        ("python -c 'print(", "'print("),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_command_is_known_by_its_program(command: object, program: str) -> None:
    assert program_of(command) == program


@pytest.mark.parametrize(
    ("run_id", "stem"),
    [
        ("train-17", "train-#"),
        ("train-1128-0953-k3x7m2q", "train-#-#-#"),
        ("r7", "r#"),
        ("sweep/lr=0.1/2", "sweep/lr=#.#/#"),
        ("20261129-1700", ""),
        ("0000000000000001", ""),
        ("تدريب/٧", "تدريب/#"),
        ("", ""),
    ],
)
def test_a_name_is_known_without_what_counts(run_id: str, stem: str) -> None:
    assert stem_of(run_id) == stem


def test_values_of_other_types_are_other_values() -> None:
    found = differences(
        [{"a": 1, "b": True, "c": {"x": 1, "y": 2}}, {"a": 1.0, "b": 1, "c": {"y": 2, "x": 1}}]
    )
    assert [each["name"] for each in found["different"]] == ["a", "b"]
    assert differences(()) == {"different": [], "same": 0}

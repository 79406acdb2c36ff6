"""A tiny network that the Trainer of transformers trains: no line of it knows of telemetry.

    python -m realm_telemetry.demo.transformers_training DIRECTORY STEPS

It starts with random weights and learns whether a number is odd; nothing is downloaded.
"""

import sys
import time
from typing import Any, Final

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

STEPS_PER_SECOND: Final = 20.0
"""The pace, so that a person can follow."""

_NUMBERS: Final = 32
_EXAMPLES: Final = 512


class Pace(transformers.TrainerCallback):  # type: ignore[misc]  # of a package that is not installed
    """Holds each step until its time has come."""

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Look at the clock."""
        self._next_s = time.monotonic()

    def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Wait."""
        self._next_s += 1 / STEPS_PER_SECOND
        time.sleep(max(self._next_s - time.monotonic(), 0.0))


def main() -> None:
    """Train, with evaluations and checkpoints on the way."""
    directory, steps = sys.argv[1], int(sys.argv[2])
    torch.manual_seed(1)
    numbers = torch.randint(0, _NUMBERS, (_EXAMPLES, 8))
    data = [{"input_ids": row, "labels": row[0] % 2} for row in numbers]
    config = BertConfig(
        vocab_size=_NUMBERS,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    arguments = TrainingArguments(
        output_dir=directory,
        max_steps=steps,
        learning_rate=2e-3,
        logging_steps=5,
        eval_strategy="steps",
        eval_steps=max(steps // 4, 1),
        save_steps=max(steps // 2, 1),
        per_device_train_batch_size=16,
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(
        model=BertForSequenceClassification(config),
        args=arguments,
        train_dataset=data,
        eval_dataset=data[:64],
        callbacks=[Pace()],
    ).train()


if __name__ == "__main__":
    main()

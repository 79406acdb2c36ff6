"""A tiny model trained with the Trainer of transformers, in seconds and on a CPU.

Without a line for it: realm run -- python examples/frameworks/transformers_trainer.py
"""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from realm_telemetry.integrations.transformers import RealmCallback

numbers = torch.randint(0, 32, (256, 8))
data = [{"input_ids": row, "labels": row[0] % 2} for row in numbers]
config = BertConfig(
    vocab_size=32,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
)
trainer = Trainer(
    model=BertForSequenceClassification(config),
    args=TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=60,
        logging_steps=10,
        eval_strategy="steps",
        eval_steps=30,
        save_steps=30,
        learning_rate=1e-3,
        use_cpu=True,
        disable_tqdm=True,
    ),
    train_dataset=data,
    eval_dataset=data[:64],
    callbacks=[RealmCallback()],  # the one line
)
trainer.train()

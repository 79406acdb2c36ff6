"""The Trainer of transformers: with no line of code below `realm run`, or with one."""

import sys
from pathlib import Path

import pytest

from .conftest import HOSTILE, Told, script, tell

pytestmark = [pytest.mark.long, pytest.mark.processes]

MODEL = """
import os, signal, sys, torch, transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
transformers.utils.logging.set_verbosity_error()

class Data(torch.utils.data.Dataset):
    broken = False
    def __len__(self): return 64
    def __getitem__(self, index):
        if self.broken and index == 3: raise OSError("the disk is gone")
        return {"input_ids": torch.arange(8) % 30, "labels": torch.tensor(index % 2)}

def trainer(out, data=None, model=None, kind=Trainer, **more):
    torch.manual_seed(0)
    model = model or BertForSequenceClassification(BertConfig(
        vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8))
    callbacks = more.pop("callbacks", None)
    arguments = TrainingArguments(**{**dict(
        output_dir=out, max_steps=12, logging_steps=4, eval_strategy="steps", eval_steps=6,
        save_steps=6, per_device_train_batch_size=4, use_cpu=True, disable_tqdm=True,
        hub_token="hf_secretsecretsecretsecret"), **more})
    data = data or Data()
    return kind(model=model, args=arguments, train_dataset=data, eval_dataset=data,
                callbacks=callbacks)
"""

PLAIN = MODEL + "trainer('out').train()\n"

KILLED = (
    MODEL
    + """
class Kill(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5: os.kill(os.getpid(), signal.SIGTERM)
trainer('out-killed', callbacks=[Kill()]).train()
"""
)

ONE_LINE = (
    MODEL
    + HOSTILE
    + """
from realm_telemetry.integrations.transformers import RealmCallback

trainer("first", callbacks=[RealmCallback()]).train()
trainer("second", report_to="realm").train(resume_from_checkpoint="first/checkpoint-6")

data = Data(); data.broken = True
try: trainer("third", data, callbacks=[RealmCallback()]).train()
except OSError as error: print("caught", error)

class Spoil(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == 3:
            for each in model.parameters(): each.data.fill_(float("nan"))
trainer("fourth", callbacks=[RealmCallback(), Spoil()], logging_steps=2).train()

class Interrupt(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2: signal.raise_signal(signal.SIGINT)
try: trainer("fifth", callbacks=[RealmCallback(), Interrupt()]).train()
except KeyboardInterrupt: print("interrupted")

class LogTensor(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2: ours.on_log(args, state, control, logs={"odd": hostile()})
ours = RealmCallback()
trainer("sixth", callbacks=[ours, LogTensor()]).train()
print("done")
"""
)


@pytest.fixture(scope="module")
def plain(place: Path) -> Told:
    program = script(place / "plain.py", PLAIN)
    return tell(place / "home", [sys.executable, program], under="r1")


@pytest.fixture(scope="module")
def one_line(place: Path) -> Told:
    program = script(place / "one_line.py", ONE_LINE)
    return tell(place / "other", [sys.executable, program])


def test_a_trainer_below_realm_run_tells_its_whole_story(plain: Told) -> None:
    assert (plain.code, plain.errors.count("realm_telemetry:")) == (0, 0), plain.errors
    assert {event["run_id"] for event in plain.events} == {"r1"}
    started = plain.one("training_started")
    assert started["model"] == "BertForSequenceClassification"
    assert started["total_steps"] == 12
    assert (started["framework"], started["device"]) == ("transformers", "cpu")
    assert started["parameters"] > 1000
    assert started["world_size"] == 1
    config = plain.one("run_config")
    assert config["logging_steps"] == 4
    assert config["per_device_train_batch_size"] == 4
    assert config["model_config"]["hidden_size"] == 8
    assert "adam_beta1" not in config
    assert "secretsecret" not in str(plain.events)
    logged = [step for step in plain.of("training_step") if "loss" in step]
    assert [step["step"] for step in logged] == [4, 8, 12]
    assert all({"loss", "grad_norm", "learning_rate", "epoch"} <= set(step) for step in logged)
    assert any("train_runtime" in step for step in plain.of("training_step"))
    assert len(plain.of("evaluation_started")) == 2
    assert [each["step"] for each in plain.of("evaluation_finished")] == [6, 12]
    assert all(each["eval_loss"] > 0 for each in plain.of("evaluation_finished"))
    saved = plain.of("checkpoint_saved")
    assert [each["step"] for each in saved] == [6, 12]
    assert all(
        each["bytes"] == sum(path.stat().st_size for path in Path(each["path"]).iterdir())
        for each in saved
    )
    assert plain.one("training_completed") == {"step": 12}
    run = plain.run("r1")
    assert (run["status"], run["step"], run["config"]["logging_steps"]) == ("completed", 12, 4)


def test_filtered_losses_are_mentioned_once(plain: Told) -> None:
    (noted,) = [event for event in plain.events if event["kind"] == "note"]
    assert "logging_nan_inf_filter" in noted["message"]


def test_counted_steps_are_limited_and_logged_ones_are_not(plain: Told) -> None:
    counted = [step for step in plain.of("training_step") if "steps_per_second" in step]
    assert 1 <= len(counted) <= 9
    assert not {step["step"] for step in counted} & {4, 8, 12}


def test_one_line_does_the_same_and_a_checkpoint_goes_on_with_its_run(one_line: Told) -> None:
    assert one_line.code == 0, one_line.errors
    started = [event for event in one_line.events if event["kind"] == "training_started"]
    first, resumed = started[0]["run_id"], started[1]["run_id"]
    assert first == resumed
    assert one_line.one("training_resumed")["step"] == 6
    assert [each["step"] for each in one_line.of("checkpoint_saved", run=first)] == [6, 12, 12]
    assert len({event["run_id"] for event in started}) == 5


def test_a_training_that_raises_and_is_caught_failed(one_line: Told) -> None:
    assert "caught the disk is gone" in one_line.output
    failed = one_line.one("training_failed")
    assert "the disk is gone" in failed["error"]
    assert failed["error_type"] == "OSError"
    (run,) = {e["run_id"] for e in one_line.events if e["kind"] == "training_failed"}
    assert one_line.run(run)["status"] == "failed"


def test_a_loss_that_is_no_number_any_more_shows_in_grad_norm(one_line: Told) -> None:
    found = [step for step in one_line.of("training_step") if step.get("grad_norm") == "NaN"]
    assert found
    assert {each["field"] for each in one_line.of("loss_not_finite")} >= {"grad_norm"}


def test_an_interrupt_cancels_the_run(one_line: Told) -> None:
    assert "interrupted" in one_line.output
    assert one_line.one("training_cancelled") == {"step": 2, "reason": "KeyboardInterrupt"}


def test_a_value_on_a_device_is_not_read(one_line: Told) -> None:
    assert one_line.output.endswith("done\n")
    (odd,) = [step for step in one_line.of("training_step") if "odd" in step]
    assert "AssertionError" not in str(odd)
    assert "realm_telemetry:" not in one_line.errors


def test_a_signal_ends_the_run_as_killed(place: Path) -> None:
    program = script(place / "killed.py", KILLED)
    told = tell(place / "killed", [sys.executable, program], under="r9")
    assert told.code == -15
    run = told.run("r9")
    assert (run["status"], run["reason"]) == ("killed", "SIGTERM")
    assert run["step"] >= 4


def test_switched_off_telemetry_adds_nothing(place: Path) -> None:
    code = MODEL + (
        "print([type(each).__name__ for each in trainer('off').callback_handler.callbacks])\n"
        "print('realm_telemetry' in sys.modules)\n"
    )
    program = script(place / "off.py", code)
    told = tell(place / "off", [sys.executable, program], under="r0", OTEL_SDK_DISABLED="true")
    assert "RealmCallback" not in told.output
    assert told.output.endswith("False\n")


def test_a_trainer_of_trl_needs_nothing_either(place: Path) -> None:
    code = MODEL + (
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "from trl import SFTConfig, SFTTrainer\n"
        "from datasets import Dataset\n"
        "from tokenizers import Tokenizer, models\n"
        "from transformers import PreTrainedTokenizerFast\n"
        "words = {w: n for n, w in enumerate(['<pad>', '<eos>', 'a', 'b', 'c'])}\n"
        "plain = Tokenizer(models.WordLevel(words, unk_token='<pad>'))\n"
        "tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token='<pad>',\n"
        "                                    eos_token='<eos>')\n"
        "model = LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1,\n"
        "    intermediate_size=8, num_attention_heads=2))\n"
        "SFTTrainer(model=model, args=SFTConfig(output_dir='sft', max_steps=4, logging_steps=2,\n"
        "    use_cpu=True, bf16=False, disable_tqdm=True, report_to='none'),\n"
        "    train_dataset=Dataset.from_dict({'text': ['a b c'] * 32}),\n"
        "    processing_class=tokenizer).train()\n"
    )
    told = tell(place / "trl", [sys.executable, script(place / "sft.py", code)], under="sft")
    assert told.code == 0, told.errors
    logged = [step for step in told.of("training_step") if "mean_token_accuracy" in step]
    assert [step["step"] for step in logged] == [2, 4]
    assert told.one("training_completed") == {"step": 4}


DAEMON = (
    MODEL
    + """
import threading
trainer("one").train()
data = Data(); data.broken = True
try: trainer("two", data).train()
except OSError: pass
threads = [threading.Thread(target=trainer(f"at once {n}", max_steps=6).train) for n in (3, 4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
"""
)


def test_each_training_of_a_daemon_below_realm_run_is_a_run(place: Path) -> None:
    """One after the other, one of which fails and is caught, and two at the same time."""
    told = tell(
        place / "daemon", [sys.executable, script(place / "daemon.py", DAEMON)], under="daemon"
    )
    assert told.code == 0, told.errors
    runs = told.runs()
    assert {name: (run["status"], run["step"]) for name, run in runs.items()} == {
        "daemon": ("completed", 12),
        "daemon-2": ("failed", runs["daemon-2"]["step"]),
        "daemon-3": ("completed", 6),
        "daemon-4": ("completed", 6),
    }
    assert "the disk is gone" in runs["daemon-2"]["reason"]
    for name in ("daemon-3", "daemon-4"):
        assert [step["step"] for step in told.of("training_step", run=name)][-1:] == [6]
        assert told.one("training_started", run=name)["model"]
        assert told.one("run_started", run=name)["model"].startswith("BertForSequence")

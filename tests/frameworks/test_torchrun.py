"""Ranks below `torchrun`: which one failed first, and whose end is collateral."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until

from .conftest import REALM, Told, environment, script, tell

pytestmark = [pytest.mark.long, pytest.mark.processes, pytest.mark.timeout(400)]

TIMEOUT_S = 300
"""Of four ranks that import torch, beside other work."""

RANKS = """
import os, signal, sys, time
import torch, torch.distributed as dist
import realm_telemetry as realm
rank, attempt = int(os.environ["RANK"]), os.environ["TORCHELASTIC_RESTART_COUNT"]
# gloo meets the addresses of the attempt before in the agent's store, unless they have a prefix.
store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
dist.init_process_group("gloo", store=dist.PrefixStore(attempt, store), rank=rank,
    world_size=int(os.environ["WORLD_SIZE"]))
way = sys.argv[1]
if way == "recover": way = "raise" if attempt == "0" else "go on"
for step in realm.steps(range(1, 101), every=20):
    if step == 24 and rank == 2:
        if way == "raise": raise OSError("the disk of rank 2 is gone")
        while way == "stall" and not os.path.exists("go on"): time.sleep(0.1)
        if way == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if way != "stall" or step % 10 == 0: dist.all_reduce(torch.ones(1))
    time.sleep(0.01)
"""

TRAINER = """
import torch, transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
data = [{"input_ids": torch.arange(8), "labels": torch.tensor(n % 2)} for n in range(64)]
model = BertForSequenceClassification(BertConfig(vocab_size=32, hidden_size=8,
    num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
arguments = TrainingArguments(output_dir="two", max_steps=8, logging_steps=2, save_steps=4,
    eval_strategy="steps", eval_steps=4, per_device_train_batch_size=4, use_cpu=True,
    ddp_backend="gloo", disable_tqdm=True)
Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data[:8]).train()
# Else gloo's threads now and then abort the process at its exit.
torch.distributed.destroy_process_group()
"""

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def ranks(place: Path, way: str, *options: str, run: str = "") -> Told:
    """Run four ranks, of which rank 2 ends in a way, below `realm run`."""
    command = four(place, way, *options)
    return tell(place / (run or way), command, under=run or way, timeout_s=TIMEOUT_S)


def four(place: Path, way: str, *options: str) -> list[str]:
    """The command of four ranks."""
    return [*TORCHRUN, *options, "--nproc-per-node=4", script(place / "ranks.py", RANKS), way]


def test_the_rank_that_raised_first_is_named(place: Path) -> None:
    told = ranks(place, "raise")
    assert told.code != 0
    run = told.run("raise")
    assert run["status"] == "failed"
    assert "the disk of rank 2 is gone" in run["reason"]
    assert run["first_failed_rank"] == 2
    assert run["exception"]["rank"] == 2
    assert set(run["ranks"]) == {"0", "1", "2", "3"}


def test_the_rank_that_was_killed_is_named(place: Path) -> None:
    told = ranks(place, "kill")
    assert told.code != 0
    run = told.run("kill")
    assert run["first_failed_rank"] == 2
    # Of a process that is not our child, not every kernel says how it ended.
    assert (run["ranks"]["2"]["status"], run["ranks"]["2"]["reason"]) in (
        ("killed", "SIGKILL, sender unknown"),
        ("lost", "no word of its end"),
    )
    assert run["status"] in ("killed", "failed")


def test_a_restart_that_recovers_is_a_second_attempt_of_a_run_that_completes(place: Path) -> None:
    told = ranks(place, "recover", "--max-restarts=1")
    assert told.code == 0, told.errors
    run = told.run("recover")
    assert (run["status"], run["attempts"], run["world_size"]) == ("completed", 2, 4)
    assert run["exception"] is None or "the disk of rank 2" in run["exception"]["error"]
    assert {rank: each["status"] for rank, each in run["ranks"].items()} == dict.fromkeys(
        ("0", "1", "2", "3"), "completed"
    )
    assert set(told.runs()) == {"recover"}


def test_a_rank_that_fails_in_each_attempt_is_named_in_the_last(place: Path) -> None:
    told = ranks(place, "raise", "--max-restarts=1", run="again")
    assert told.code != 0
    run = told.run("again")
    assert (run["status"], run["attempts"], run["first_failed_rank"]) == ("failed", 2, 2)
    assert "the disk of rank 2 is gone" in run["reason"]
    assert set(told.runs()) == {"again"}


def test_the_rank_that_stands_still_is_named_and_goes_on(place: Path) -> None:
    home = place / "stall"
    home.mkdir(mode=0o700)
    (home / "realm.toml").write_text("[watch]\nstall_min_s = 5\n")
    command = [REALM, "run", "--run-id", "stall", "--", *four(place, "stall")]
    with subprocess.Popen(
        command,
        env=environment(home),
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as training:
        try:
            wait_until(lambda: stalls(home), TIMEOUT_S)
        finally:
            (place / "go on").touch()
        assert training.wait(TIMEOUT_S) == 0
    # The others wait for it, so that they may be called stalled too.
    found = [stall["details"] for stall in stalls(home)]
    assert [2] in [each.get("behind") for each in found], found


def stalls(home: Path) -> list[dict[str, Any]]:
    """The stalls that the log has."""
    words = [REALM, "query", "--kind", "run_stalled", "--jsonl"]
    done = subprocess.run(words, env=environment(home), capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_trainer_with_two_ranks_is_told_once(place: Path) -> None:
    program = script(place / "two.py", TRAINER)
    told = tell(place / "two", [*TORCHRUN, "--nproc-per-node=2", program], under="two")
    assert told.code == 0, told.errors
    assert "realm_telemetry:" not in told.errors
    assert told.one("training_started")["world_size"] == 2
    logged = [step["step"] for step in told.of("training_step") if "loss" in step]
    assert logged == [2, 4, 6, 8]
    assert [each["step"] for each in told.of("checkpoint_saved")] == [4, 8]
    assert [each["step"] for each in told.of("evaluation_finished")] == [4, 8]
    run = told.run("two")
    assert (run["status"], run["step"], run["world_size"]) == ("completed", 8, 2)
    assert {rank: each["status"] for rank, each in run["ranks"].items()} == {
        "0": "completed",
        "1": "completed",
    }

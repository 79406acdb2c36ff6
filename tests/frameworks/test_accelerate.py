"""accelerate: the tracker `realm`, known without an import below `realm run`."""

import sys
from pathlib import Path

import pytest

from .conftest import HOSTILE, Told, script, tell

pytestmark = [pytest.mark.long, pytest.mark.processes]

LOOP = """
import torch
from accelerate import Accelerator

def train(out, fails=False):
    accelerator = Accelerator(log_with="realm", cpu=True)
    accelerator.init_trackers("tiny", config={"lr": 0.1, "api_key": "secretsecretsecret"})
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=4)
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
    for step, batch in enumerate(data, 1):
        loss = model(batch).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        accelerator.log({"loss": loss.item()}, step=step)
        if step == 4: accelerator.save_state(out)
        if fails and step == 6: raise OSError("the disk is gone")
    return accelerator
"""

PLAIN = LOOP + "train('out').end_training()\n"

ONE_LINE = (
    "import realm_telemetry.integrations.accelerate\n"
    + LOOP
    + HOSTILE
    + """
done = train("first")
done.log({"odd": hostile(), "bad": float("nan")})
done.end_training()
train("second", fails=True)
"""
)


@pytest.fixture(scope="module")
def plain(place: Path) -> Told:
    return tell(place / "home", [sys.executable, script(place / "a.py", PLAIN)], under="r1")


def test_the_tracker_is_known_below_realm_run(plain: Told) -> None:
    assert (plain.code, plain.errors.count("realm_telemetry:")) == (0, 0), plain.errors
    assert plain.one("training_started")["model"] == "tiny"
    # Of its own arguments, and with its first log of the model.
    assert [config.get("lr") for config in plain.of("run_config")] == [0.1, None]
    assert "secretsecret" not in str(plain.events)
    assert [each["step"] for each in plain.of("training_step")] == list(range(1, 9))
    (saved,) = plain.of("checkpoint_saved")
    assert saved["step"] == 4
    assert saved["bytes"] == sum(path.stat().st_size for path in Path(saved["path"]).iterdir())
    assert plain.one("training_completed") == {"step": 8}
    assert plain.run("r1")["status"] == "completed"


def test_an_import_does_the_same_and_an_exception_ends_the_run(place: Path) -> None:
    told = tell(place / "other", [sys.executable, script(place / "b.py", ONE_LINE)])
    assert told.code == 1
    assert "realm_telemetry:" not in told.errors
    (odd,) = [step for step in told.of("training_step") if "odd" in step]
    assert (odd["step"], odd["bad"]) == (9, "NaN")
    first, second = [e["run_id"] for e in told.events if e["kind"] == "training_started"]
    assert told.one("training_completed", run=first) == {"step": 9}
    run = told.run(second)
    assert (run["status"], run["step"]) == ("failed", 6)
    assert "the disk is gone" in run["reason"]

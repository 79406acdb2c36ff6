"""The hook of `realm run` for training frameworks, with stubs in their place.

The real ones are in tests/frameworks.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import realm_telemetry.cli
from realm_telemetry.event import Event
from realm_telemetry.integrations.training import Story, bytes_of, harmless, is_off
from realm_telemetry.spool.frames import decode_event
from realm_telemetry.spool.reader import SpoolReader

INJECT = Path(realm_telemetry.cli.__file__).with_name("inject")

CALLBACK = "class TrainerCallback: pass\n"
TRAINER = """
class State:
    global_step, max_steps, is_world_process_zero, stateful_callbacks = 0, 3, True, {}

class Trainer:
    def __init__(self):
        self.callback_handler = type("Handler", (), {"callbacks": []})()
    def add_callback(self, callback):
        self.callback_handler.callbacks.append(callback)
    def train(self):
        for each in self.callback_handler.callbacks:
            each.on_log(None, State, None, {"loss": 0.5})
        raise ValueError("broken")
"""
INTEGRATIONS = "INTEGRATION_TO_CALLBACK = {}\n"


def stub(place: Path, trainer: str, integrations: str = INTEGRATIONS) -> None:
    """Write a package called transformers."""
    package = place / "transformers"
    (package / "integrations").mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '9.9'\n")
    (package / "trainer_callback.py").write_text(CALLBACK)
    (package / "trainer.py").write_text(trainer)
    (package / "integrations" / "__init__.py").write_text("")
    (package / "integrations" / "integration_utils.py").write_text(integrations)


def run(place: Path, code: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a child of `realm run` is run."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REALM_", "OTEL_", "PYTEST"))
    }
    given = {
        "PYTHONPATH": f"{INJECT}{os.pathsep}{place}",
        "REALM_RUN_REPORTS": str(place),
        "REALM_RUN_ID": "r1",
        "REALM_HOME": str(place / "home"),
        "REALM_SHIPPER": "none",
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | given | more,
        capture_output=True,
        text=True,
        timeout=60,
    )


def events(place: Path) -> list[Event]:
    """All events of the only producer of a home."""
    (control,) = (place / "home" / "spool").glob("*/*/control")
    frames = [f for f in SpoolReader(control.parent).read(100_000) if f.format == 1]
    return [decode_event(f.payload, control.parent.name, f.number) for f in frames]


@pytest.mark.processes
def test_a_framework_is_adapted_where_its_module_is_imported(tmp_path: Path) -> None:
    stub(tmp_path, TRAINER)
    done = run(tmp_path, "from transformers.trainer import Trainer\nTrainer().train()\n")
    assert done.returncode == 1
    assert "realm_telemetry:" not in done.stderr
    assert done.stderr.rstrip().endswith("ValueError: broken")
    (step,) = [event for event in events(tmp_path) if event.kind == "training_step"]
    assert (step.details, step.run_id) == ({"step": 0, "loss": 0.5}, "r1")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("trainer", "integrations"),
    [("class Trainer: pass\n", INTEGRATIONS), (TRAINER, ""), ("Trainer = None\n", "")],
)
def test_a_version_without_the_api_is_a_warning_and_harms_nothing(
    tmp_path: Path, trainer: str, integrations: str
) -> None:
    stub(tmp_path, trainer, integrations)
    code = "import transformers.trainer as t\nt.Trainer and t.Trainer()\nprint('goes on')\n"
    done = run(tmp_path, code)
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    (line,) = done.stderr.splitlines()
    assert "transformers 9.9 is not quite what its adapter knows" in line


def write(place: Path, files: dict[str, str]) -> None:
    """Write the modules of stub packages, each package with a version and all of its `__init__`."""
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for above in path.relative_to(place).parents:
            if above.name and not (place / above / "__init__.py").exists():
                (place / above / "__init__.py").write_text("__version__ = '9.9'\n")


KERAS_CALLBACK = "class Callback: pass\n"
KERAS_MODEL = """
class Model:
    def fit(self, *args, **kwargs): return len(kwargs.get("callbacks", []))
    def save(self, path): pass
    def save_weights(self, path): pass
"""
ACCELERATE = """
LOGGER_TYPE_TO_CLASS = {}
class GeneralTracker: pass
def register_tracker_class(tracker): LOGGER_TYPE_TO_CLASS[tracker.name] = tracker
"""
TRACKER = "tracker = next(iter(t.LOGGER_TYPE_TO_CLASS.values()))('x')\n"
FACTORY = (
    "import lightning.pytorch\n"
    "from realm_telemetry.integrations.lightning import lightning_callbacks\n"
    "ours = lightning_callbacks()\n"
)
HOOKS = """
for hook in ("on_train_start", "on_train_batch_end", "on_validation_start", "on_fit_end", "setup"):
    getattr(ours[0], hook)(object(), object(), *(["fit"] if hook == "setup" else []))
"""
WITHOUT_API = {
    "keras without Callback": (
        {"keras/src/callbacks/callback.py": "", "keras/src/models/model.py": KERAS_MODEL},
        "import keras.src.models.model as m\nm.Model().fit()\n",
    ),
    "keras without save": (
        {
            "keras/src/callbacks/callback.py": KERAS_CALLBACK,
            "keras/src/models/model.py": "class Model: pass\n",
        },
        "import keras.src.models.model\n",
    ),
    "accelerate without trackers": (
        {"accelerate/tracking.py": "class GeneralTracker: pass\n"},
        "import accelerate.tracking\n",
    ),
    "accelerate without an Accelerator": (
        {"accelerate/tracking.py": ACCELERATE},
        f"import accelerate.tracking as t\n{TRACKER}tracker.start()\ntracker.finish()\n",
    ),
    "lightning without Callback": ({"lightning/pytorch/callbacks.py": ""}, FACTORY),
    "lightning whose Trainer has nothing": (
        {
            "lightning/pytorch/callbacks.py": KERAS_CALLBACK,
            "lightning/pytorch/loggers/logger.py": "class Logger: pass\n",
        },
        FACTORY + HOOKS,
    ),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", WITHOUT_API)
def test_a_framework_without_the_api_is_a_warning_and_harms_nothing(
    tmp_path: Path, name: str
) -> None:
    files, code = WITHOUT_API[name]
    write(tmp_path, files)
    done = run(tmp_path, code + "print('goes on')\n")
    assert (done.returncode, done.stdout) == (0, "goes on\n"), done.stderr
    (line,) = done.stderr.splitlines()
    assert f"{name.split()[0]} 9.9 is not quite what its adapter knows" in line


OFF = {
    "transformers": (
        {
            "transformers/trainer_callback.py": CALLBACK,
            "transformers/trainer.py": TRAINER.replace("raise ValueError", "print"),
            "transformers/integrations/integration_utils.py": INTEGRATIONS,
        },
        "import transformers.trainer as t\n"
        "from realm_telemetry.integrations.transformers import RealmCallback\n"
        "from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK as known\n"
        "one = t.Trainer()\nassert not one.callback_handler.callbacks and 'realm' in known\n"
        "one.add_callback(RealmCallback())\none.train()\n",
    ),
    "keras": (
        {
            "keras/src/callbacks/callback.py": KERAS_CALLBACK,
            "keras/src/models/model.py": KERAS_MODEL,
        },
        "import keras.src.models.model as m\n"
        "from realm_telemetry.integrations.keras import RealmCallback\n"
        "ours = RealmCallback()\nours.on_train_begin()\nours.on_train_batch_end(1)\n"
        "assert m.Model().fit() == 0 and m.Model().fit(callbacks=[ours]) == 1\n",
    ),
    "accelerate": (
        {"accelerate/tracking.py": ACCELERATE},
        "import accelerate.tracking as t\nimport realm_telemetry.integrations.accelerate\n"
        f"{TRACKER}tracker.start()\ntracker.log({{'loss': 1.0}}, step=1)\ntracker.finish()\n",
    ),
    "lightning": (
        {
            "lightning/pytorch/callbacks.py": KERAS_CALLBACK,
            "lightning/pytorch/loggers/logger.py": "class Logger: pass\n",
        },
        FACTORY + "assert ours == []\n"
        "from realm_telemetry.integrations.lightning import RealmCallback\n"
        "ours = [RealmCallback()]\n" + HOOKS,
    ),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", OFF)
def test_an_adapter_does_nothing_where_telemetry_is_off(tmp_path: Path, name: str) -> None:
    files, code = OFF[name]
    write(tmp_path, files)
    done = run(tmp_path, code + "print('goes on')\n", OTEL_SDK_DISABLED="true")
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["goes on"]), done.stderr
    assert done.stderr == ""
    assert not (tmp_path / "home").exists()


@pytest.mark.processes
def test_nothing_is_imported_without_a_framework_or_where_telemetry_is_off(tmp_path: Path) -> None:
    stub(tmp_path, TRAINER)
    look = "import sys\nprint(any('realm_telemetry' in name for name in sys.modules))\n"
    assert run(tmp_path, "import json\n" + look).stdout == "False\n"
    code = "import transformers.trainer\n" + look
    assert run(tmp_path, code).stdout == "True\n"
    assert run(tmp_path, code, OTEL_SDK_DISABLED="true").stdout == "False\n"


@pytest.mark.processes
def test_a_module_that_fails_to_import_fails_as_ever(tmp_path: Path) -> None:
    stub(tmp_path, "raise RuntimeError('no such driver')\n")
    code = "try: import transformers.trainer\nexcept RuntimeError as error: print(error)\n"
    done = run(tmp_path, code)
    assert (done.stdout, done.stderr) == ("no such driver\n", "")


def test_a_hook_never_raises(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    @harmless("no_such_framework")
    def hook() -> int:
        raise AttributeError("on_step")

    assert hook() is None
    assert hook() is None
    assert capfd.readouterr().err.count("no_such_framework of unknown version") == 1
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert is_off()


def test_an_end_without_a_beginning_is_none() -> None:
    story = Story("stub")
    story.fail(ValueError("x"))
    story.end(3)
    assert not story.is_open


def test_the_size_of_a_checkpoint_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "deep" / "b").write_bytes(b"123")
    assert (bytes_of(tmp_path), bytes_of(tmp_path / "a")) == (8, 5)
    assert bytes_of(tmp_path / "none") is None

"""Runs in cells of a real IPython shell."""

from pathlib import Path

import pytest

from .programs import HEAD, Ended, program, script

pytestmark = pytest.mark.processes

SHELL = HEAD + "from IPython.core.interactiveshell import InteractiveShell\n"
SETUP = "realm.configure(home=HOME, shipper='none')\n"
NAMES = "shell.user_ns.update(realm=realm, HOME=HOME, threading=threading)\n"
TRAIN = "for step in range(3): realm.training_step(step=step, loss=1.0)\n"


def notebook(home: Path, *cells: str, **environ: str) -> Ended:
    """Run cells one after the other, as a person does."""
    code = "shell = InteractiveShell.instance()\n" + NAMES
    code += "".join(f"shell.run_cell({cell!r})\n" for cell in cells)
    return program(home, code, setup=SHELL, IPYTHONDIR=str(home / "ipython"), **environ)


def ends(ended: Ended) -> list[tuple[str, str | None]]:
    found = ended.of("run_ended")
    return [(event.details["status"], event.details.get("reason")) for event in found]


@pytest.mark.parametrize("setup", ["in a cell of its own", "in the cell that trains"])
def test_the_end_of_a_cell_is_the_end_of_the_run_that_trained_in_it(
    tmp_path: Path, setup: str
) -> None:
    first = [SETUP, TRAIN] if setup == "in a cell of its own" else [SETUP + TRAIN]
    ended = notebook(tmp_path, *first, "1 + 1", TRAIN)
    assert ends(ended) == [("completed", None), ("completed", None)]
    assert ended.of("run_ended")[0].details["evidence"] == {"cell": "ended"}
    assert len({event.run_id for event in ended.of("training_step")}) == 2


def test_an_exception_of_a_cell_fails_the_run_that_trained_in_it(tmp_path: Path) -> None:
    ended = notebook(tmp_path, SETUP, TRAIN + "raise ValueError('text')", "1 / 0", TRAIN)
    assert ends(ended) == [("failed", "ValueError: text"), ("completed", None)]
    reported = ended.one("uncaught_exception")
    assert reported.run_id == ended.of("run_ended")[0].run_id
    assert reported.details["error"] == "ValueError: text"
    assert "raise ValueError('text')" in reported.details["traceback"]


def test_a_file_that_a_cell_runs_fails_the_run_as_the_cell_would(tmp_path: Path) -> None:
    """`%run` shows the traceback itself, and the cell ends well; so does the next one."""
    (tmp_path / "train.py").write_text(
        f"import realm_telemetry as realm\n{TRAIN}raise ValueError('bad')\n"
    )
    ended = notebook(tmp_path / "home", SETUP, f"%run {tmp_path / 'train.py'}", TRAIN)
    assert ends(ended) == [("failed", "ValueError: bad"), ("completed", None)]
    assert ended.one("uncaught_exception").details["error"] == "ValueError: bad"


@pytest.mark.parametrize("options", [(), ("-i",)])
def test_a_script_that_ipython_runs_and_that_raises_fails_its_run(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    code = SETUP + TRAIN + "raise ValueError('bad')\n"
    module = ("-m", "IPython", "--no-banner", "--colors=NoColor", *options)
    typed = "1 + 1\n" if options else ""
    ended = script(tmp_path / "train.py", code, tmp_path / "home", *module, typed=typed)
    assert ends(ended) == [("failed", "ValueError: bad")]
    well = script(tmp_path / "train.py", SETUP + TRAIN, tmp_path / "well", *module, typed=typed)
    assert ends(well) == [("completed", None)]


def test_an_interrupted_cell_cancels_the_run_and_is_no_exception(tmp_path: Path) -> None:
    ended = notebook(tmp_path, SETUP, TRAIN + "raise KeyboardInterrupt")
    assert ends(ended) == [("cancelled", "KeyboardInterrupt")]
    assert ended.of("uncaught_exception") == []


def test_a_run_that_is_only_described_waits_for_the_cell_that_trains(tmp_path: Path) -> None:
    described = "realm.run_config(lr=0.1)\n"
    ended = notebook(tmp_path, SETUP + described, "undefined", TRAIN)
    assert ends(ended) == [("completed", None)]
    assert len({event.run_id for event in ended.of("run_config", "training_step")}) == 1
    begun = notebook(tmp_path / "begun", SETUP + described + "1 / 0")
    assert ends(begun) == [("failed", "ZeroDivisionError: division by zero")]


def test_a_training_in_a_thread_outlives_the_cell(tmp_path: Path) -> None:
    train = """
done = threading.Event()
def train():
    realm.training_step(step=1, loss=1.0)
    done.set()
    more.wait()
    realm.training_step(step=2, loss=1.0)
    realm.training_completed()
more = threading.Event()
thread = threading.Thread(target=train)
thread.start()
done.wait()
"""
    ended = notebook(tmp_path, SETUP, train, "more.set(); thread.join()")
    assert ends(ended) == [("completed", None)]
    assert len({event.run_id for event in ended.of("training_step")}) == 1


def test_after_shutdown_cells_end_nothing(tmp_path: Path) -> None:
    ended = notebook(tmp_path, SETUP + TRAIN + "realm.shutdown(0)", "1 / 0", "2 + 2")
    assert ends(ended) == [("completed", None)]
    assert ended.one("run_ended").details["evidence"] == {"call": "shutdown"}


def test_a_notebook_shows_the_report_of_its_run_in_a_frame(tmp_path: Path) -> None:
    """Each call reads the run anew, from the log where no service runs."""
    # No exporter, for which each call would wait; and nobody else's service.
    setup = "realm.configure(home=HOME, exporters=['battle_log'], service_url='http://[::1]:9')\n"
    told = "print('FRAME', _repr(realm.show()))\n"
    shown = "from IPython.core.formatters import HTMLFormatter\n_repr = HTMLFormatter()\n"
    again = "training_step = realm.training_step(step=7, loss=0.25)\n" + told
    named = "print('TEXT', realm.show(realm.show().run_id))\n"
    unknown = "try: realm.show('nothing')\nexcept Exception as error: print('ERROR', error)\n"
    ended = notebook(tmp_path, setup + shown, TRAIN + told, again, named, unknown)
    first, second = ended.output.split("FRAME ")[1:]
    assert first.startswith('<iframe sandbox style="')
    assert 'srcdoc="&lt;!doctype html&gt;' in first
    assert "&lt;svg" in first
    assert "<th>Step" not in first, "the document is one attribute of the frame"
    assert "&lt;th&gt;Step&lt;/th&gt;&lt;td&gt;2&lt;" in first
    assert "&lt;th&gt;Step&lt;/th&gt;&lt;td&gt;7&lt;" in second
    assert "TEXT # Run " in ended.output
    assert "ERROR There is no run 'nothing'" in ended.output

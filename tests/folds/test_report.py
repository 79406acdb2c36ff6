"""A run as one document: all parts of it, nothing that is read as markup, nothing from outside."""

import re
from html.parser import HTMLParser
from typing import Any

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import stamp_of
from realm_telemetry.folds.curves import RunCurves
from realm_telemetry.folds.curves.view import metrics_of
from realm_telemetry.folds.report import Report
from realm_telemetry.folds.runs import RunRecord, shown

BEGIN_NS = 1_764_374_400_000_000_000
SECOND = 1_000_000_000
EVIL = '<script>alert(1)</script> & "x" `|'


def told(at_s: int, kind: str, process: str = "a", rank: int = 0, **details: Any) -> Event:
    return Event(
        kind,
        "training",
        "info",
        f"{kind} {EVIL}",
        details,
        BEGIN_NS + at_s * SECOND,
        process * 16,
        at_s + 1,
        run_id=EVIL,
        rank=rank,
    )


def report(*events: Event, output: str = "") -> Report:
    record, curves = RunRecord(), RunCurves()
    for event in events:
        record.apply(event, stamp_of(event), EVIL)
        if event.kind == "training_step":
            curves.add(event)
    return Report(shown(EVIL, record), events, metrics_of(curves), output)


STRANGE: Any = {"train/<b>": 3}
FAILED = report(
    told(0, "run_started", command=["python", EVIL], world_size=2),
    told(1, "run_config", lr=EVIL),
    *(told(2 + step, "training_step", step=step, loss=1 / (step + 1)) for step in range(20)),
    told(30, "training_step", step=20, loss="NaN", **STRANGE),
    *(told(40 + step, "training_step", "b", step=step, loss=2.0) for step in range(10, 15)),
    told(60, "training_step", "c", 1, step=1, loss=1.0),
    told(61, "uncaught_exception", "b", error=EVIL, error_type="ValueError", traceback=EVIL),
    output=f"last line {EVIL}\n",
)


class Tags(HTMLParser):
    """The tags of a document, each closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        assert not any(name in ("src", "href") or name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_document_that_needs_nothing_and_takes_no_text_for_markup() -> None:
    text = FAILED.html()
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert "script" not in tags.found
    assert not re.search("https?://|url[(]|@import", text)
    for heading in ("Exception", "Curves", "Ranks", "Configuration", "Last events", "Last lines"):
        assert f"<h2>{heading}" in text, heading
    assert text.count("<svg") == 2
    assert "class=again" in text
    assert "not finite" not in text  # the NaN was overwritten


def test_markdown_has_the_curves_and_the_last_lines() -> None:
    text = FAILED.markdown()
    assert "| loss | 2 | 0.1 | 2 |" in text
    assert "## Last lines of its output" in text


def test_a_value_that_is_not_finite_is_marked() -> None:
    steps = [told(step, "training_step", step=step, loss=1.0) for step in range(5)]
    found = report(*steps, told(9, "training_step", step=9, loss="NaN"))
    assert '<line class="bad"' in found.html()
    assert "not finite: 1, from step 9" in found.html()
    assert "| 1, from step 9 |" in found.markdown()


def test_a_run_without_numbers_has_no_empty_graphs() -> None:
    text = report(told(0, "run_started", command="x")).html()
    assert "<svg" not in text
    assert "Curves" not in text

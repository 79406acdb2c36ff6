"""Runs over each other, chosen in the list."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from .conftest import SCREENSHOTS, Lab, running_lab
from .run_stories import LONG_ID, MARKUP_ID, RTL_ID, Runs
from .test_looks import AXE
from .watching import axe_findings, no_sideways_scroll

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pair_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two runs that differ in a setting and in their ends, and five others."""
    with running_lab(tmp_path_factory.mktemp("compare")) as made:
        runs = Runs()
        runs.training("base", 9_000)
        runs.ended("base", 8_950, "completed")
        runs.training("higher, lr", 4_000, steps=20, not_finite_from=15)
        changed = {"lr": 0.003, "optimizer": {"name": "sgd"}}
        runs.add("higher, lr", "run_config", 3_999, details=changed)
        for number in range(5):
            runs.training(f"more-{number}", 20_000 + number, steps=2)
        runs.store(made)
        yield made


def test_chosen_runs_are_drawn_over_each_other(pair_lab: Lab, page: Page) -> None:
    """By step or by time since their start, with what differs between them."""
    page.goto(f"{pair_lab.url}/runs")
    page.get_by_label("Compare base").check()
    bar = page.get_by_role("region", name="Comparison")
    bar.filter(has_text="1 run chosen").wait_for()
    assert bar.get_by_role("link").count() == 0
    page.get_by_label("Compare higher, lr").check()
    assert axe_findings(page, AXE) == []
    bar.get_by_role("link", name="Compare").click()
    loss = page.locator("[data-metric=loss]")
    loss.locator("canvas").wait_for()
    label = loss.locator("realm-line-graph").get_attribute("aria-label") or ""
    assert "base: 0.1500" in label
    assert "higher, lr: NaN" in label
    table = page.get_by_test_id("differences")
    text = table.inner_text()
    for part in ("lr", "0.0003", "0.003", "optimizer.name", "sgd", "not set", "Last step"):
        assert part in text
    assert "seed" not in text
    assert "2 settings the same in all" in text
    over = loss.locator(".plot-over")
    over.hover()
    loss.locator(".metric-value").filter(has_text="step 2").wait_for()
    page.get_by_role("button", name="Time since start").click()
    over.hover(position={"x": 40, "y": 40})
    loss.locator(".metric-value").filter(has_text="after ").wait_for()


def test_no_more_than_six_runs_are_compared(pair_lab: Lab, page: Page) -> None:
    """Other boxes are off then; an address with one run says what to do."""
    page.goto(f"{pair_lab.url}/runs")
    for number in range(5):
        page.get_by_label(f"Compare more-{number}").check()
    page.get_by_label("Compare base").check()
    assert page.get_by_label("Compare higher, lr").is_disabled()
    page.goto(f"{pair_lab.url}/compare?run=base")
    page.get_by_test_id("too-few").wait_for()
    assert axe_findings(page, AXE) == []
    many = "".join(f"&run=more-{number}" for number in range(5))
    page.goto(f"{pair_lab.url}/compare?run=base&run=higher%2C+lr{many}")
    page.get_by_role("status").filter(has_text="1 of the address is left out").wait_for()


def test_an_unknown_run_is_named_and_the_others_are_drawn(pair_lab: Lab, page: Page) -> None:
    """Whatever is in the address: percent signs, slashes, other scripts, very long ids."""
    page.goto(f"{pair_lab.url}/compare?run=100%&run=base&run=no%2Fbody&run=higher%2C+lr")
    loss = page.locator("[data-metric=loss]")
    loss.locator("canvas").wait_for()
    label = loss.locator("realm-line-graph").get_attribute("aria-label") or ""
    assert "base: 0.1500" in label
    assert "higher, lr: NaN" in label
    for name in ("100%", "no/body"):
        assert "There is no such run" in page.locator(f'[data-missing="{name}"]').inner_text()
    assert page.locator("[data-missing]").count() == 2
    headings = page.get_by_test_id("differences").locator("thead th").all_inner_texts()
    assert headings[1:] == ["base", "higher, lr"]
    assert axe_findings(page, AXE) == []
    page.goto(f"{pair_lab.url}/compare?run=base&run=nobody")
    page.locator("[data-metric=loss] canvas").wait_for()
    page.goto(f"{pair_lab.url}/compare?run=nobody&run=" + "x" * 300)
    page.get_by_role("alert").filter(has_text="There is no run 'nobody'").wait_for()


def test_runs_with_odd_ids_are_chosen_and_compared(lab: Lab, page: Page) -> None:
    """From the list by their boxes, and each leads to its page."""
    runs = Runs()
    odd = ["50%", "team/r 1?#&", LONG_ID, RTL_ID, MARKUP_ID, "."]
    for place, name in enumerate(odd):
        runs.training(name, 100 + place, steps=3)
    runs.store(lab)
    page.goto(f"{lab.url}/runs")
    for name in odd:
        page.get_by_label(f"Compare {name}", exact=True).check()
    page.get_by_role("region", name="Comparison").get_by_role("link", name="Compare").click()
    page.locator("[data-metric=loss] canvas").wait_for()
    assert page.locator(".compare-legend a").all_inner_texts() == odd
    assert page.locator("[data-missing]").count() == 0
    assert no_sideways_scroll(page)
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=SCREENSHOTS / "compare-odd-390.png", full_page=True)
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    page.get_by_role("link", name="team/r 1?#&", exact=True).click()
    page.get_by_role("heading", name="team/r 1?#&").wait_for()


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (820, "light"), (390, "dark")])
def test_a_comparison_fits(browser: Browser, pair_lab: Lab, width: int, theme: str) -> None:
    """On every screen; pictures are taken."""
    SCREENSHOTS.mkdir(exist_ok=True)
    dark = theme == "dark"
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    page.goto(f"{pair_lab.url}/compare?run=base&run=higher%2C+lr")
    page.get_by_test_id("differences").wait_for()
    page.locator("[data-metric=loss] canvas").wait_for()
    page.screenshot(path=SCREENSHOTS / f"compare-{width}-{theme}.png", full_page=True)
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    page.close()

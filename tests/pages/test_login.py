"""A browser that comes by the link of `realm login`, in a home that asks for a token."""

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from realm_telemetry.config import home_token
from realm_telemetry.service.sessions import login_url

from .conftest import note, running_lab
from .watching import pill, until

pytestmark = pytest.mark.browser


def test_a_link_opens_the_pages_and_the_stream(
    tmp_path: Path, page: Page, context: BrowserContext
) -> None:
    """The cookie goes with all that the page asks for, the shared worker's stream included."""
    (tmp_path / "realm.toml").write_text('access = "token"\n')
    with running_lab(tmp_path) as lab:
        token = home_token(tmp_path)
        link = login_url(lab.url, token)
        page.goto(link)
        page.wait_for_url(f"{lab.url}/")
        pill(page, "Live")
        lab.client.headers["authorization"] = f"Bearer {token}"
        lab.post([note(1)])
        until(page, "document.querySelectorAll('[data-event-id]').length === 1")
        context.clear_cookies()
        page.goto(link)
        assert "This link was used" in page.inner_text("[role=alert]")
        page.get_by_label("Token").fill(str(token))
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{lab.url}/")
        pill(page, "Live")

"""/llms.txt: public, short, and true."""

import re
from pathlib import Path

import pytest

from realm_telemetry.service.api.llms import TEXT
from realm_telemetry.service.app import documented_endpoints

from .conftest import asking, free_ports, serving


def test_every_route_that_it_names_is_there() -> None:
    paths = {re.sub(r"{\w+}", "{}", one.path) for one in documented_endpoints()}
    named = re.findall(r"^- (/[^?:]*)", TEXT, re.MULTILINE)
    assert len(named) == 9
    assert {re.sub(r"{[\w ]+}", "{}", path) for path in named} <= paths


@pytest.mark.slow
def test_it_needs_no_token_and_is_short(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, token="s3cret-token")) as server, asking(server) as client:
        answer = client.get("/llms.txt")
        assert (answer.status_code, answer.text) == (200, TEXT)
        assert answer.headers["content-type"].startswith("text/plain")
        assert len(TEXT) < 2_500
        assert client.get("/api/runs").status_code == 401

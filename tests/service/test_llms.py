"""/llms.txt: public, short, and true."""

import re
from pathlib import Path

import httpx
import pytest

from realm_telemetry.service.api.llms import TEXT
from realm_telemetry.service.app import documented_endpoints
from realm_telemetry.spool.output import KeptOutput
from tests.waiting import wait_until

from .conftest import asking, free_ports, serving


def test_every_route_that_it_names_is_there() -> None:
    paths = {re.sub(r"{\w+}", "{}", one.path) for one in documented_endpoints()}
    named = re.findall(r"^- (/[^?:]*)", TEXT, re.MULTILINE)
    assert len(named) == 10
    assert {re.sub(r"{[\w ]+}", "{}", path) for path in named} <= paths


@pytest.mark.slow
def test_it_needs_no_token_and_is_short(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, token="s3cret-token")) as server, asking(server) as client:
        answer = client.get("/llms.txt")
        assert (answer.status_code, answer.text) == (200, TEXT)
        assert answer.headers["content-type"].startswith("text/plain")
        assert len(TEXT) < 2_500
        assert client.get("/api/runs").status_code == 401


def _places(run: str, event: str) -> list[str]:
    """Each address of the file with its parameters, and further ones that it names below."""
    (below,) = re.findall(r"^  (status=\S+) ", TEXT, re.MULTILINE)
    (more,) = re.findall(r"^  (warnings=\S+) ", TEXT, re.MULTILINE)
    found = re.findall(r"^- (/\S*(?: id}\S*)?)", TEXT, re.MULTILINE)
    found += [f"/api/runs?{below}", f"/api/runs?{more}"]
    return [place.rstrip(":").replace("{event id}", event).replace("{id}", run) for place in found]


def test_every_address_with_its_parameters_is_answered(
    client: httpx.Client, tmp_path: Path
) -> None:
    events = [
        {"kind": "training_step", "producer": "1" * 16, "number": number, "run_id": "r1"}
        | {"details": {"step": number, "loss": 1 / number}}
        for number in (1, 2, 3)
    ]
    assert client.post("/api/v1/events", json={"events": events}).status_code == 200
    kept = KeptOutput(tmp_path, "r1")
    kept.append(["step 1"])
    kept.close()
    wait_until(lambda: client.get("/api/runs/r1").status_code == 200)
    places = _places("r1", client.get("/api/battle_log").json()[0]["id"])
    assert len(places) == 12
    for place in places:
        with client.stream("GET", place) as answer:
            assert answer.status_code == 200, place
            if "stream" not in place:
                answer.read()
        if "metrics" in place:
            (series,) = answer.json()["series"]
            assert (series["name"], len(series["values"])) == ("loss", 3)

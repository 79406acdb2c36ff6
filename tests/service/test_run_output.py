"""`GET /api/runs/{id}/output`: the end of what a run printed, or on from an offset."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from realm_telemetry.spool.output import KeptOutput, directory_name
from realm_telemetry.spool.output.files import MAX_PIECE_BYTES

from .conftest import asking, free_ports, serving

ODD = "lab a/b 🐉?#%2F"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptOutput]:
    output = KeptOutput(tmp_path, ODD)
    yield output
    output.close()


def output(client: httpx.Client, run_id: str = ODD, **params: Any) -> httpx.Response:
    return client.get(f"/api/runs/{quote(run_id, safe='')}/output", params=params)


def test_the_last_lines_and_those_that_follow(client: httpx.Client, kept: KeptOutput) -> None:
    kept.append([f"line {number:03d}" for number in range(1, 101)])
    answer = output(client, tail=2)
    assert answer.text == "line 099\nline 100\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-next-offset"] == "900"
    answer = output(client, offset=900)
    assert (answer.text, answer.headers["x-next-offset"]) == ("", "900")
    kept.append(["ä"])
    answer = output(client, offset=900)
    assert (answer.text, answer.headers["x-next-offset"]) == ("ä\n", "903")
    assert output(client, offset=882).text == "line 099\nline 100\nä\n"
    assert len(output(client).text.splitlines()) == 101
    assert output(client, tail=0).text == ""
    assert output(client, offset=2**53 - 1).headers["x-next-offset"] == "903"


def test_answers_are_bounded_and_follow_each_other(client: httpx.Client, kept: KeptOutput) -> None:
    lines = [f"{number:07d}" * 100 for number in range(4_000)]
    for start in range(0, 4_000, 100):
        kept.append(lines[start : start + 100])
    text, offset, answers = "", 0, 0
    while True:
        answer = output(client, offset=offset)
        assert len(answer.content) <= MAX_PIECE_BYTES
        offset = int(answer.headers["x-next-offset"])
        if not answer.text:
            break
        text += answer.text
        answers += 1
    assert text.splitlines() == lines
    assert answers >= 3
    tail = output(client, tail=10_000).text
    assert MAX_PIECE_BYTES - 1_000 < len(tail) <= MAX_PIECE_BYTES
    assert text.endswith(tail)
    assert tail.splitlines()[0] in lines


@pytest.mark.parametrize(
    "params", [{"tail": 5, "offset": 5}, {"tail": -1}, {"offset": "x"}, {"lines": 5}]
)
def test_wrong_parameters_are_refused(
    client: httpx.Client, kept: KeptOutput, params: dict[str, Any]
) -> None:
    kept.append(["x"])
    answer = output(client, **params)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("run_id", ["..", ".", "../vault", "x" * 256, "🐉" * 256])
def test_an_id_never_leads_out_of_its_directory(
    client: httpx.Client, tmp_path: Path, run_id: str
) -> None:
    (tmp_path / "output.log").write_text("not of a run\n")
    (tmp_path / "vault" / "output.log").write_text("not of a run\n")
    answer = client.get(f"/api/runs/{quote(run_id, safe='').replace('.', '%2E')}/output")
    assert answer.status_code == 404
    KeptOutput(tmp_path, run_id).append(["mine"])
    assert (tmp_path / "runs" / directory_name(run_id)).is_dir()
    answer = client.get(f"/api/runs/{quote(run_id, safe='').replace('.', '%2E')}/output")
    assert answer.text == "mine\n"


@pytest.mark.parametrize("link", ["runs", "runs/r1", "runs/r1/output.log"])
def test_links_are_not_followed(client: httpx.Client, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    KeptOutput(elsewhere, "r1").append(["secret"])
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(elsewhere / link)
    assert output(client, "r1").status_code == 404


def test_the_token_is_asked_for(tmp_path: Path, kept: KeptOutput) -> None:
    kept.append(["x"])
    with serving(free_ports(tmp_path, token="secret-token")) as server, asking(server) as client:
        assert output(client).status_code == 401
        headers = {"authorization": "Bearer secret-token"}
        answer = client.get(f"/api/runs/{quote(ODD, safe='')}/output", headers=headers)
        assert answer.text == "x\n"

"""What the routes answer, and that the OpenAPI document tells the truth about them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.event import CHANNELS
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.service.app import documented_endpoints
from realm_telemetry.service.pages import STATIC
from realm_telemetry.spool.output import KeptOutput
from realm_telemetry.transfer.formats import CSV_COLUMNS
from tests.waiting import wait_until

from .conftest import PRODUCER, asking, free_ports, post_notes, serving

STATIC_PATHS = (
    "/runs",
    "/runs/{id}",
    "/battle-log",
    "/alerts",
    "/compare",
    "/event-stream.js",
    "/assets/{name}",
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "http-api.md"
ASSETS = [path.name for path in (STATIC / "assets").glob("*.css")]
EXAMPLES = {"section": "training", "id": "1", "name": "".join(ASSETS[:1])}


def test_the_two_checks_of_the_lab_show_recent_events(client: httpx.Client) -> None:
    post_notes(client, 1, 20, kind="training_step")
    assert client.get("/api/events").json()["events"][0]["number"] == 20
    assert client.get("/api/battle_log?limit=10").json()[0]["number"] == 20


def test_an_event_has_the_one_json_shape_everywhere(client: httpx.Client, tmp_path: Path) -> None:
    post_notes(client, 1, 1)
    with LogReader(tmp_path / "vault" / "jobs.db") as reader:
        row = reader.now.get(1)
    assert row is not None
    shape = event_to_dict(row.event, row.cursor)
    assert client.get("/api/events").json()["events"] == [shape]
    assert client.get("/api/battle_log").json() == [shape]
    assert client.get(f"/api/battle_log/{row.event.id}").json() == shape
    assert json.loads(client.get("/api/battle_log/export").text) == shape | {"resource": {}}


def test_the_live_view_keeps_fifty_of_each_channel_and_severity(client: httpx.Client) -> None:
    post_notes(client, 1, 80)
    post_notes(client, 81, 90, channel="jobs", severity="error")
    events = client.get("/api/events?limit=1000").json()["events"]
    assert [event["cursor"] for event in events] == [*range(90, 30, -1)]
    jobs = client.get("/api/events?channels=jobs&limit=3").json()["events"]
    assert [event["cursor"] for event in jobs] == [90, 89, 88]


def test_the_live_view_is_there_again_after_a_restart(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post_notes(client, 1, 5, kind="training_started", channel="training")
        post_notes(client, 6, 105, kind="training_step", channel="training")
        before = client.get("/api/events?limit=1000").json()
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        assert client.get("/api/events?limit=1000").json() == before
        with client.stream("GET", "/api/events/stream") as response:
            lines = (line for line in response.iter_lines() if line.startswith("data: "))
            snapshot = json.loads(next(lines)[6:])
    assert [event["number"] for event in snapshot["events"]] == [5, 4, 3, 2, 1]
    assert [event["number"] for event in snapshot["routine"]] == [105]


def test_pages_lead_through_the_whole_log_while_it_grows(client: httpx.Client) -> None:
    post_notes(client, 1, 25)
    response = client.get("/api/battle_log?limit=10&kind=note")
    seen = [event["cursor"] for event in response.json()]
    post_notes(client, 26, 30)
    while "next" in response.links:
        response = client.get("/api/battle_log" + response.links["next"]["url"])
        seen += [event["cursor"] for event in response.json()]
        assert response.headers["x-as-of"] == "25"
    assert seen == [*range(25, 0, -1)]
    assert (response.headers["x-total-count"], response.headers["x-total-relation"]) == ("25", "eq")


def test_a_wrong_page_cursor_is_the_callers_error(client: httpx.Client) -> None:
    response = client.get("/api/battle_log?cursor=nonsense")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_parameter")


def test_the_older_shape_of_a_page(client: httpx.Client) -> None:
    post_notes(client, 1, 3)
    answer = client.get("/api/battle_log?format=object&channels=system").json()
    assert answer["count"] == 3
    assert answer["next_since"] == answer["events"][0]["timestamp"]
    assert answer["channel_counts"] == {"system": 3}


def test_context_is_around_an_event_by_id_and_by_cursor(client: httpx.Client) -> None:
    post_notes(client, 1, 9)
    event_id = f"{PRODUCER}{5:016x}"
    for key in (event_id, "5"):
        rows = client.get(f"/api/battle_log/{key}/context?before=2&after=1").json()
        assert [row["cursor"] for row in rows] == [3, 4, 5, 6]
    assert client.get("/api/battle_log/77/context").status_code == 404


def test_context_may_be_asked_for_on_one_side_or_on_none(client: httpx.Client) -> None:
    post_notes(client, 1, 5)
    for before, after, numbers in ((0, 1, [3, 4]), (1, 0, [2, 3]), (0, 0, [3])):
        query = {"before": before, "after": after}
        found = client.get("/api/battle_log/3/context", params=query).json()
        assert [event["number"] for event in found] == numbers


def test_the_histogram_sums_to_the_total(client: httpx.Client) -> None:
    post_notes(client, 1, 4)
    post_notes(client, 5, 6, severity="error")
    answer = client.get("/api/battle_log/histogram?buckets=10").json()
    assert sum(bucket["count"] for bucket in answer["buckets"]) == answer["total"] == 6
    assert sum(bucket["counts"].get("error", 0) for bucket in answer["buckets"]) == 2


def test_channels_have_names_icons_colours_and_counts(client: httpx.Client) -> None:
    post_notes(client, 1, 2, severity="error")
    answer = client.get("/api/battle_log/channels?since=1h").json()
    assert list(answer["channels"]) == list(CHANNELS) or set(answer["channels"]) == set(CHANNELS)
    assert answer["channels"]["system"]["counts"] == {"error": 2}
    assert answer["severities"]["error"] == "#ff6b6b"


def test_a_summary_counts_by_what_is_asked(client: httpx.Client) -> None:
    post_notes(client, 1, 3)
    assert client.get("/api/battle_log/summary?by=kind").json() == [{"kind": "note", "count": 3}]
    assert client.get("/api/battle_log/summary?by=colour").status_code == 400
    assert client.get("/api/battle_log/summary?since=soon").status_code == 400


@pytest.mark.parametrize("query", ["", "?kind=note&q=Note"])
def test_an_export_has_all_rows(client: httpx.Client, query: str) -> None:
    post_notes(client, 1, 1200)
    lines = client.get("/api/battle_log/export" + query).text.splitlines()
    assert [json.loads(line)["cursor"] for line in lines] == [*range(1200, 0, -1)]


@pytest.mark.parametrize("query", ["cursor=x", "cursor=x&format=csv", "cursor=x&order=arrival"])
def test_an_export_that_cannot_begin_is_an_error_and_not_a_cut_answer(
    client: httpx.Client, query: str
) -> None:
    response = client.get(f"/api/battle_log/export?{query}")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_parameter")
    assert response.json()["message"].startswith("cursor:")


def test_an_export_goes_on_behind_a_page(client: httpx.Client) -> None:
    post_notes(client, 1, 30)
    page = client.get("/api/battle_log?limit=10")
    cursor = httpx.URL(page.links["next"]["url"]).params["cursor"]
    lines = client.get("/api/battle_log/export", params={"cursor": cursor}).text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(20, 0, -1))


def test_an_export_without_rows_has_what_its_format_begins_with(client: httpx.Client) -> None:
    assert client.get("/api/battle_log/export?kind=none").text == ""
    assert client.get("/api/battle_log/export?kind=none&format=csv").text.startswith("cursor,id,")
    assert client.head("/api/battle_log/export").text == ""


NUMBERS = (
    "/api/battle_log/{}",
    "/api/battle_log/{}/context",
    "/api/battle_log/1/context?before={}",
    "/api/battle_log?limit={}",
    "/api/battle_log?as_of={}",
    "/api/battle_log?since={}",
    "/api/battle_log?until=-{}",
    "/api/battle_log?has=step:{}",
    "/api/battle_log/histogram?buckets={}",
    "/api/battle_log/series?points={}",
    "/api/battle_log/channels?since={}",
    "/api/battle_log/summary?since={}",
    "/api/battle_log/summary?until=-{}",
    "/api/battle_log/export?as_of={}",
    "/api/history/training?limit={}",
    "/api/history/training?since={}",
    "/api/events?limit={}",
)


def test_a_number_beyond_64_bits_is_never_a_defect_of_the_service(client: httpx.Client) -> None:
    post_notes(client, 1, 1)
    for path in NUMBERS:
        for number in (2**63 - 1, 2**63, 2**64, 10**30):
            response = client.get(path.format(number))
            assert response.status_code in (200, 400, 404), (path, number)


def test_an_age_beyond_all_times_is_answered(client: httpx.Client) -> None:
    post_notes(client, 1, 1)
    for path in ("channels", "summary", "histogram", "series?points=1"):
        for since in ("999999999w", "999999999d ago", "99999999999", "-99999999999"):
            for name in ("since", "until") if path != "channels" else ("since",):
                response = client.get(f"/api/battle_log/{path}", params={name: since})
                assert response.status_code == 200, (path, name, since)


def test_a_name_given_a_thousand_times_counts_once(client: httpx.Client) -> None:
    post_notes(client, 1, 1)
    often = client.get("/api/battle_log/summary", params={"by": "kind," * 1000}).json()
    assert often == client.get("/api/battle_log/summary?by=kind").json()


def test_an_export_as_csv_has_a_header_and_details_as_json(client: httpx.Client) -> None:
    post_notes(client, 1, 2, details={"a": 'say "hi", then\ngo'})
    rows = list(csv.DictReader(io.StringIO(client.get("/api/battle_log/export?format=csv").text)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert json.loads(rows[0]["details"]) == {"a": 'say "hi", then\ngo'}


def test_the_events_of_the_state_are_pushed_out_by_nothing_that_is_routine(
    client: httpx.Client,
) -> None:
    """A loop of `update_training` calls, of steps or of heartbeats is in the sections already."""
    post_notes(client, 1, 60)
    details = {"section": "training", "data": {"lr": 0.1}}
    post_notes(client, 61, 130, kind="section_updated", details=details)
    post_notes(client, 131, 200, kind="training_step", channel="training", details={"step": 5})
    answer = client.get("/api/state").json()
    assert [event["number"] for event in answer["events"]] == list(range(60, 10, -1))
    assert answer["cursor"] == 200


def test_the_state_says_at_which_cursor_it_is_true(client: httpx.Client) -> None:
    post_notes(client, 1, 5, kind="training_step", channel="training", details={"step": 5})
    response = client.get("/api/state")
    answer = response.json()
    assert answer["state"]["training"]["step"] == 5
    assert answer["schema_version"] == 2
    assert (response.headers["x-cursor"], answer["cursor"]) == ("5", 5)
    section = client.get("/api/state/training")
    assert (section.json()["step"], section.headers["x-cursor"]) == (5, "5")


def test_the_state_is_there_again_after_a_restart(tmp_path: Path) -> None:
    def state(client: httpx.Client) -> dict[str, Any]:
        found: dict[str, Any] = client.get("/api/state/checkpoints").json()
        return found

    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post_notes(client, 1, 9, kind="checkpoint_saved", details={"step": 9, "path": "p"})
        before = state(client)
    assert (tmp_path / "data" / "realm_state.db").exists()
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        while client.get("/ready").status_code != 200:
            pass
        assert state(client)["totals"] == before["totals"]


def test_health_has_the_older_services_fields_and_the_log_id(client: httpx.Client) -> None:
    answer = client.get("/health").json()
    assert {"status": "ok", "service": "realm", "schema_version": 2, "sse_clients": 0}.items() <= (
        answer.items()
    )
    assert len(answer["log_id"]) == 32


def test_metrics_are_prometheus_text(client: httpx.Client) -> None:
    post_notes(client, 1, 7)
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    labels = 'realm_channel="system",realm_kind="note",realm_severity="info"'
    assert f"realm_events_total{{{labels}}} 7" in lines
    assert 'realm_ingest_events_total{outcome="accepted"} 7' in lines
    assert "realm_sse_clients 0" in lines
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {line.split("{")[0].split(" ")[0] for line in lines if line[0] != "#"} <= named


def test_the_page_of_routes_shows_the_last_events_and_relative_links(client: httpx.Client) -> None:
    post_notes(client, 1, 3)
    page = client.get("/api", headers={"accept": "text/html"}).text
    assert "Note 3" in page
    assert 'href="api/events"' in page
    assert 'href="/' not in page
    text = client.get("/")
    assert text.headers["content-type"].startswith("text/plain")
    assert "note: Note 3" in text.text


def test_a_name_with_an_exclamation_mark_is_left_out_everywhere(client: httpx.Client) -> None:
    post_notes(client, 1, 2)
    shape = {"kind": "job_failed", "message": "m", "hero_id": "dio"}
    client.post("/api/v1/events", json={"events": [shape]})
    for left_out, wanted in (("kind=!note", {"job_failed"}), ("hero=!dio", {"note"})):
        listed = client.get(f"/api/battle_log?{left_out}")
        assert {event["kind"] for event in listed.json()} == wanted
        assert listed.headers["x-total-relation"] == "eq"
        live = client.get(f"/api/events?{left_out}").json()["events"]
        assert {event["kind"] for event in live} == wanted
        bars = client.get(f"/api/battle_log/histogram?{left_out}").json()
        assert bars["total"] == len(listed.json()) == int(listed.headers["x-total-count"])
        exported = client.get(f"/api/battle_log/export?{left_out}").text
        assert len(exported.splitlines()) == len(listed.json())


NEEDED: dict[str, Any] = {"/api/compare": {"run": ["1", "2"]}}


def test_every_route_is_in_the_openapi_document_and_answers(
    client: httpx.Client, tmp_path: Path
) -> None:
    KeptOutput(tmp_path, "1").append(["printed"])
    post_notes(client, 1, 1, run_id="1")
    post_notes(client, 2, 2, run_id="2")
    wait_until(lambda: client.get("/api/runs/2").status_code == 200)
    document = client.get("/openapi.json").json()
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(one.method, one.path) for one in documented_endpoints()}
    for method, path in described:
        asked = path.format(**EXAMPLES)
        if path.endswith("/stream"):
            method = "HEAD"
        client.post("/api/worker/1", json={})
        if path in STATIC_PATHS and not ASSETS:
            continue  # The pages are not built.
        status = client.request(method, asked, params=NEEDED.get(path, {})).status_code
        assert status in ((415, 200, 303) if method == "POST" else (200, 303)), asked
    ids = [op["operationId"] for methods in document["paths"].values() for op in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_parameter_that_the_document_names_is_taken(
    client: httpx.Client, tmp_path: Path
) -> None:
    KeptOutput(tmp_path, "1").append(["printed"])
    values = {"since": "1h", "until": "now", "has": "a:1", "not": "a:2", "q": "x", "by": "kind"}
    values |= {"status": "running", "warnings": "any"}
    post_notes(client, 1, 1, run_id="1")
    post_notes(client, 2, 2, run_id="2")
    wait_until(lambda: client.get("/api/runs/2").status_code == 200)
    cursorless = {"cursor", "last_event_id"}
    for one in documented_endpoints():
        for parameter in one.parameters:
            if one.path.endswith("/stream") or parameter.name in cursorless:
                continue
            plain = parameter.schema.get("default", 1)
            value = values.get(parameter.name, plain)
            if parameter.name in ("channel", "severity"):
                value = {"channel": "system", "severity": "info"}[parameter.name]
            path = one.path.format(**EXAMPLES)
            body: dict[str, Any] = {"json": {"events": []}} if one.method == "POST" else {}
            given = {parameter.name: value} | NEEDED.get(one.path, {})
            response = client.request(one.method, path, params=given, **body)
            assert response.status_code == 200, (path, parameter.name, response.text)


def test_every_route_is_in_the_document() -> None:
    text = DOCUMENT.read_text()
    for one in documented_endpoints():
        assert f"`{one.method} {one.path}`" in text or f"{one.method} {one.path}`" in text, one.path

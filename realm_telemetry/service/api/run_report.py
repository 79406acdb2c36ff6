"""A run over HTTP as one document, for people."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.event import Event
from realm_telemetry.folds.curves.view import metrics_of
from realm_telemetry.folds.report import FORMATS, LAST_LINES, Report
from realm_telemetry.folds.runs import RunRecord, detailed, notable
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.service.api.runs import only, read_run
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.spool.output import read_end

MEDIA_TYPES: Final = ("text/markdown", "text/html")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""The document has its style in itself, and no script."""


async def get_run_report(request: Request) -> Response:
    """A run as Markdown or HTML, for people."""
    only(request.query_params, ("format",))
    wanted = request.query_params.get("format", "md")
    known = next((name for name in FORMATS if name == wanted), None)
    if known is None:
        problem = f"format: there is no format {wanted[:80]!r}."
        raise ApiError("invalid_parameter", problem, f"Known are {', '.join(FORMATS)}.")
    service = service_of(request.scope)
    run_id: str = request.path_params["id"]

    def ask(
        log: Snapshot, run_id: str, record: RunRecord
    ) -> tuple[RunRecord, dict[str, Any], list[Event], str]:
        piece = read_end(service.settings.home, run_id, LAST_LINES)
        output = "" if piece is None else piece.text.decode("utf-8", "replace")
        run = detailed(log, run_id, record)
        return record, run, notable(log, run_id, record), output

    record, run, events, output = await read_run(request, ask)
    found = await service.curves.read(run_id, record)

    def write() -> bytes:
        report = Report(run, events, metrics_of(found.curves), output)
        return report.text(known).encode("utf-8", "backslashreplace")

    content = await service.readers.work(write)
    headers = {"cache-control": "no-store"}
    if known == "html":
        headers["content-security-policy"] = _POLICY
    return Response(content, 200, headers, MEDIA_TYPES[FORMATS.index(known)])

"""GET /api/alerts, what rules would have done, and POST /api/alerts: mute, test, send again."""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.times import parse_time
from realm_telemetry.plugins import ExporterContext, exporter_class, installed_exporters
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.parameters import moment
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.ingest.body import content_encoding, read_body
from realm_telemetry.service.reader_pool import translated
from realm_telemetry.shipper.deliveries import WEBHOOK_EXPORTER

T = TypeVar("T")

MAX_BODY_BYTES: Final = 4_096
MAX_MUTE_S: Final = 30 * 86_400
MAX_RUN_ID: Final = 256
_NOTHING: Final[dict[str, Any]] = {
    name: [] for name in ("rules", "targets", "muted_runs", "messages", "circuits")
}


class Action(msgspec.Struct, forbid_unknown_fields=True):
    """What to do: a rule or a run to mute for_s, a target to test, or a message to send again."""

    mute: str | None = None
    mute_run: str | None = None
    for_s: float = 3_600.0
    test: str | None = None
    redeliver: int | None = None


async def get_alerts(request: Request) -> Response:
    """Rules, targets and the last messages; `problem` says why there are none."""
    service = service_of(request.scope)
    try:
        found = await service.readers.work(lambda: _desk(service).overview())
    except ConfigError as error:
        return json_answer(_NOTHING | {"problem": f"{error.problem}. {error.fix}"})
    sends = WEBHOOK_EXPORTER in service.settings.exporters
    return json_answer(found | {"problem": None if sends else "This service sends no alerts."})


async def get_alert_history(request: Request) -> Response:
    """How often each rule would have fired since a time, seven days by default."""
    service = service_of(request.scope)
    since_ns = moment(request.query_params, "since") or parse_time("7d", time.time_ns())
    deadline_s = time.monotonic() + service.settings.query_timeout_s
    try:
        found = await _work(service, lambda: _desk(service).history(since_ns, deadline_s))
    except TimeoutError:
        raise ApiError("query_timeout", hint="Ask for less with since.") from None
    return json_answer({"rules": found})


async def post_alert_action(request: Request) -> Response:
    """Mute a rule, test a target, or send a message again."""
    service = service_of(request.scope)
    # A form of another site's page cannot send this type without asking first.
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError("unsupported_media_type", hint="Send application/json.")
    if content_encoding(request) != "identity":
        raise ApiError("unsupported_encoding", hint="Send it as it is.")
    with service.bodies.share() as share:
        body = await read_body(request, service.settings, share, most=MAX_BODY_BYTES)
    action = _read(body)
    sends = action.mute is None and action.mute_run is None
    return json_answer(await _work(service, _job(service, action), sends=sends))


def _read(body: bytes) -> Action:
    try:
        # As JSON Schema has it, 3.0 is an integer.
        action = msgspec.json.decode(body, type=Action, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(str(error)) from None
    given = [action.mute, action.mute_run, action.test, action.redeliver]
    if sum(each is not None for each in given) != 1:
        raise _malformed("needs one of mute, mute_run, test and redeliver")
    if action.mute_run is not None and not 0 < len(action.mute_run) <= MAX_RUN_ID:
        raise _malformed(f"mute_run must be the id of a run, 1 to {MAX_RUN_ID} characters")
    if not 0 <= action.for_s <= MAX_MUTE_S:
        raise _malformed(f"for_s must be from 0 to {MAX_MUTE_S}")
    if action.redeliver is not None and not 0 <= action.redeliver < 2**63:
        raise _malformed("redeliver must be the number of a message")
    return action


def _malformed(problem: str) -> ApiError:
    hint = 'Send {"mute": RULE, "for_s": 3600}, {"test": TARGET} or {"redeliver": NUMBER}.'
    return ApiError("malformed_json", f"The body is no action: {problem}.", hint)


def _job(service: Service, action: Action) -> Callable[[], dict[str, Any]]:
    def job() -> dict[str, Any]:
        desk = _desk(service)
        if action.mute is not None:
            desk.mute(action.mute, action.for_s)
            return {"muted": action.mute, "for_s": action.for_s}
        if action.mute_run is not None:
            desk.mute_run(action.mute_run, action.for_s)
            return {"muted_run": action.mute_run, "for_s": action.for_s}
        if action.test is not None:
            return {"target": action.test, **desk.test(action.test)}
        return {"message": action.redeliver, **desk.redeliver(action.redeliver)}

    return job


async def _work(service: Service, job: Callable[[], T], *, sends: bool = False) -> T:
    """Run a job; raises ApiError not_found for a name or number that is not there."""
    try:
        with translated():
            return await service.alert_jobs.run(job, sends=sends)
    except KeyError as error:
        raise ApiError("not_found", f"There is no {error.args[0]!r}.", "See /api/alerts.") from None
    except ConfigError as error:
        raise ApiError("not_found", f"{error.setting}: {error.problem}.", error.fix) from None


def _desk(service: Service) -> Any:
    """What the installed exporter of alerts has for this; raises ConfigError if there is none."""
    settings = service.settings
    if WEBHOOK_EXPORTER not in installed_exporters():
        raise ConfigError("exporters", "no exporter of alerts is installed", "See docs/alerts.md")
    found = exporter_class(WEBHOOK_EXPORTER)
    context = ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        log_url=None if settings.log_url is None else str(settings.log_place),
        service_url=settings.address,
        options=dict(settings.options.get(WEBHOOK_EXPORTER, {})),
    )
    return found.desk(context)

"""The one catalogue of what the service answers when it cannot do what was asked."""

import json
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from realm_telemetry.service.ingest.otlp_failures import failure, is_otlp


class ErrorEntry(NamedTuple):
    """status: HTTP status; message, hint: what is wrong and what to do, when nothing is nearer."""

    status: int
    message: str
    hint: str


CATALOGUE: Final[dict[str, ErrorEntry]] = {
    "invalid_parameter": ErrorEntry(
        400, "A query parameter is not valid.", "docs/http-api.md lists the parameters."
    ),
    "invalid_event_id": ErrorEntry(
        400, "This is neither an event id nor a cursor.", "Use 32 hex digits, or a row id."
    ),
    "invalid_event": ErrorEntry(
        400, "The body is no event.", 'Send {"kind": ..., "message": ...} and what else it has.'
    ),
    "malformed_json": ErrorEntry(
        400, "The body is not the JSON that is expected here.", 'Send {"events": [{"kind": ...}]}.'
    ),
    "malformed_protobuf": ErrorEntry(
        400,
        "The body is not an EventBatch.",
        "The message is in proto/realm_telemetry/wire/v1/event.proto.",
    ),
    "malformed_compression": ErrorEntry(
        400,
        "The body does not decompress.",
        "Check that Content-Encoding names what the body really is.",
    ),
    "token_required": ErrorEntry(
        401,
        "This RealmService asks for a token.",
        "Send Authorization: Bearer <REALM_TOKEN>, or log in at /login.",
    ),
    "token_wrong": ErrorEntry(
        401, "The token is not the one of this RealmService.", "Compare REALM_TOKEN on both sides."
    ),
    "host_not_allowed": ErrorEntry(
        403,
        "This service does not answer to that Host name.",
        "Use localhost, or add the name to allowed_hosts in [service] of realm.toml.",
    ),
    "origin_not_allowed": ErrorEntry(
        403,
        "Requests from pages of another origin are refused.",
        "Open the page from this service itself.",
    ),
    "not_found": ErrorEntry(404, "There is nothing at this path.", "GET / says what is served."),
    "unknown_section": ErrorEntry(
        404, "RealmState has no such section.", "GET /api/state names the sections."
    ),
    "unknown_worker": ErrorEntry(
        404, "RealmState has no such worker.", "GET /api/workers names the workers."
    ),
    "run_not_found": ErrorEntry(
        404, "There is no such run.", "GET /api/runs lists them; percent-encode the id."
    ),
    "output_not_found": ErrorEntry(
        404,
        "Nothing that this run printed was kept here.",
        "`realm run -- COMMAND` keeps it, on the host and in the home where it runs.",
    ),
    "event_not_found": ErrorEntry(
        404, "The log has no such event.", "Retention may have trimmed it."
    ),
    "method_not_allowed": ErrorEntry(
        405, "This path does not take that method.", "See Allow, and /openapi.json."
    ),
    "body_timeout": ErrorEntry(
        408, "The body did not arrive in time.", "Send smaller batches, or check the network."
    ),
    "body_too_large": ErrorEntry(
        413, "The body is over the limit.", "Send fewer events in a batch."
    ),
    "too_many_events": ErrorEntry(
        413, "The batch has too many events.", "Send it in several batches."
    ),
    "too_many_values": ErrorEntry(
        413,
        "The body has too many JSON values.",
        "Send it in several, or raise max_body_values in [service] of realm.toml.",
    ),
    "unsupported_media_type": ErrorEntry(
        415,
        "Content-Type is not one that this path takes.",
        "Send application/x-protobuf or application/json.",
    ),
    "unsupported_encoding": ErrorEntry(
        415, "Content-Encoding is not one that is taken.", "Send gzip, zstd or identity."
    ),
    "headers_too_large": ErrorEntry(
        431,
        "Request line and headers are over 64 KiB, or there are over 128 headers.",
        "Send fewer; a long query can be asked in parts.",
    ),
    "too_many_attempts": ErrorEntry(
        429, "Too many wrong tokens came from this address.", "Wait as long as Retry-After says."
    ),
    "too_many_alerts": ErrorEntry(
        429,
        "Too many things are asked about alerts at once.",
        "Wait as long as Retry-After says.",
    ),
    "ingest_full": ErrorEntry(
        429,
        "The ingest queue is full; nothing of this batch was stored.",
        "Send it again after Retry-After seconds.",
    ),
    "internal_error": ErrorEntry(
        500, "The service failed at this request.", "The service's log says why."
    ),
    "log_unavailable": ErrorEntry(
        503, "The log cannot be used at the moment.", "`realm doctor` says what is wrong with it."
    ),
    "not_started": ErrorEntry(
        503,
        "The service is not running.",
        "A server that mounts realm_app must enter its lifespan; see docs/http-api.md.",
    ),
    "not_ready": ErrorEntry(
        503, "RealmState is still being folded from the log.", "Try again in a moment."
    ),
    "too_many_connections": ErrorEntry(
        503,
        "All connections are taken, or too many come from this address.",
        "Close some, or raise max_connections or max_connections_per_address in [service] of"
        " realm.toml; name a proxy in trusted_proxies.",
    ),
    "too_many_clients": ErrorEntry(
        503, "All stream places are taken.", "Close a stream, or raise the client limit."
    ),
    "query_timeout": ErrorEntry(
        503,
        "The query took too long.",
        "Ask for less with since, until, kind or run, or raise query_timeout_s in [service] of"
        " realm.toml.",
    ),
    "shutting_down": ErrorEntry(503, "The service is shutting down.", "Try again after restart."),
}

_RETRY_AFTER_S: Final = {
    "ingest_full": 1,
    "too_many_alerts": 5,
    "log_unavailable": 2,
    "not_ready": 1,
    "query_timeout": 5,
    "too_many_clients": 5,
    "too_many_connections": 5,
    "shutting_down": 2,
}


class ApiError(Exception):
    """An answer from the catalogue; `message` and `hint` replace its general ones."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        hint: str | None = None,
        *,
        retry_after_s: int | None = None,
    ) -> None:
        entry = CATALOGUE[code]
        self.code = code
        self.status = entry.status
        self.message = message or entry.message
        self.hint = hint or entry.hint
        self.retry_after_s = retry_after_s or _RETRY_AFTER_S.get(code)
        super().__init__(f"{code}: {self.message}")

    def response(self) -> Response:
        """Write the error as `{error, message, hint}`."""
        headers = {"cache-control": "no-store"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        if self.status == 401:
            headers["www-authenticate"] = 'Bearer realm="realm_telemetry"'
        return ErrorAnswer(self, headers)


class ErrorAnswer(Response):
    """`{error, message, hint}`, counted by its code where the application keeps count.

    Counted when it is sent, because middleware answers as well as handlers do. OTLP's paths are
    answered as that protocol wants.
    """

    def __init__(self, error: ApiError, headers: dict[str, str]) -> None:
        body = {"error": error.code, "message": error.message, "hint": error.hint}
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
        super().__init__(content, error.status, headers, "application/json")
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counts = getattr(scope["app"].state, "error_answers", None)
        if counts is not None:
            counts[self._error.code] += 1
        if is_otlp(scope):
            await self._as_otlp(scope)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _as_otlp(self, scope: Scope) -> Response:
        error = self._error
        text = f"{error.message} {error.hint}"
        headers = {k: v for k, v in self.headers.items() if not k.startswith("content-")}
        return failure(scope, error.code, error.status, text, headers)


def on_api_error(_request: Request, error: Exception) -> Response:
    """Answer an ApiError."""
    assert isinstance(error, ApiError)
    return error.response()


def on_http_exception(_request: Request, error: Exception) -> Response:
    """Answer the router's own 404 and 405 from the catalogue."""
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    response = ApiError(code).response()
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def on_unexpected(_request: Request, _error: Exception) -> Response:
    """Answer a defect of ours without showing what it was."""
    return ApiError("internal_error").response()

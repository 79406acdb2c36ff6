"""GET and POST /login: the token once, then a cookie that scripts cannot read."""

import asyncio
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from realm_telemetry.service.access import COOKIE, COOKIE_AGE_S, Sessions, client_address
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.headers import HTML_POLICY
from realm_telemetry.service.pages import login_page
from realm_telemetry.service.throttle import Throttle

MAX_FORM_BYTES = 8 * 1024
_FORM_TYPE = "application/x-www-form-urlencoded"


class Login:
    """The two routes; without a token there is nothing to log in to."""

    def __init__(self, sessions: Sessions | None, throttle: Throttle, timeout_s: float) -> None:
        self._sessions = sessions
        self._throttle = throttle
        self._timeout_s = timeout_s

    async def show(self, request: Request) -> Response:
        """The form."""
        if self._sessions is None:
            return _to(request, "/")
        return _page(_next(request.query_params.get("next", "")))

    async def submit(self, request: Request) -> Response:
        """Compare the token; right: the cookie, and on to where the browser wanted to go."""
        if self._sessions is None:
            return _to(request, "/")
        address = client_address(request)
        if wait_s := self._throttle.wait_s(address):
            raise ApiError("too_many_attempts", retry_after_s=wait_s)
        form = await self._form(request)
        wanted = _next(form.get("next", ""))
        if not self._sessions.is_token(form.get("token", "")):
            self._throttle.failed(address)
            return _page(wanted, problem="That is not the token of this service.", status=401)
        self._throttle.succeeded(address)
        response = _to(request, wanted)
        response.set_cookie(
            COOKIE,
            self._sessions.issue(),
            max_age=COOKIE_AGE_S,
            path=request.scope.get("root_path", "") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def _form(self, request: Request) -> dict[str, str]:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
            raise ApiError("unsupported_media_type", hint=f"Send {_FORM_TYPE}.")
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        raise ApiError("body_too_large")
        except TimeoutError:
            raise ApiError("body_timeout") from None
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
        return {name: values[-1] for name, values in fields.items()}


def _next(wanted: str) -> str:
    """A path of this service to go on to; anything else would let others send people away."""
    safe = wanted.startswith("/") and not wanted.startswith(("//", "/\\", "/login"))
    return wanted if safe and wanted.isprintable() and wanted.isascii() else "/"


def _to(request: Request, path: str) -> Response:
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def _page(wanted: str, *, problem: str = "", status: int = 200) -> Response:
    headers = {"content-security-policy": HTML_POLICY, "cache-control": "no-store"}
    return HTMLResponse(login_page(wanted, problem), status, headers)

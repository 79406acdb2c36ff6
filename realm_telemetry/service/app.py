"""The application: explicit routes, explicit middleware, one lifespan."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from realm_telemetry.config import Settings
from realm_telemetry.plugins import extension
from realm_telemetry.service.access import (
    HostCheck,
    Login,
    OriginCheck,
    QueryCheck,
    Throttle,
    TokenCheck,
)
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.llms import get_llms
from realm_telemetry.service.api.openapi import openapi_document
from realm_telemetry.service.api.runs import RunRoute, may_be_run
from realm_telemetry.service.compression import Compression
from realm_telemetry.service.core import ServiceKeeper, service_of
from realm_telemetry.service.errors import (
    ApiError,
    on_api_error,
    on_http_exception,
    on_unexpected,
)
from realm_telemetry.service.health_desk import HealthDesk
from realm_telemetry.service.pages import (
    HOW_TO_BUILD,
    HTML_POLICY,
    RUN_PAGE,
    BuiltPages,
    SecurityHeaders,
    index_page,
    index_text,
)
from realm_telemetry.service.reader_pool import ClientWatch
from realm_telemetry.service.routes import ENDPOINTS, Endpoint, Handler
from realm_telemetry.service.schemas import LOGIN
from realm_telemetry.service.sessions import Sessions
from realm_telemetry.service.settings import ServiceSettings

INDEX_EVENTS: Final = 12
_TEXTS: Final = ("text/html", "text/plain")
_HTML: Final = ("text/html",)
_NOWHERE: Final = Path("/nonexistent")


def realm_app(settings: ServiceSettings | Settings) -> Starlette:
    """Make the application, for `realm serve` or to be mounted in another server.

    A server does not run the lifespan of what it mounts, so its own lifespan has to enter ours:

        realm = realm_app(settings)

        @asynccontextmanager
        async def lifespan(app):
            async with realm_lifespan(realm):
                yield

        app = FastAPI(lifespan=lifespan)
        app.mount("/realm", realm)

    Raises ConfigError if the settings would let others in without a token.
    """
    settings = ServiceSettings.of(settings)
    settings.check_access()
    sessions = Sessions(settings.token) if settings.token is not None else None
    throttle = Throttle(settings.login_attempts, settings.login_window_s)
    login = Login(sessions, throttle, settings.body_timeout_s, settings.trusted_proxies)
    app = Starlette(
        routes=[
            one.route(one.path, one.handler, methods=[one.method])
            for one in _endpoints(login, BuiltPages())
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Compression),
            Middleware(HostCheck, settings=settings),
            Middleware(QueryCheck),
            Middleware(OriginCheck),
            Middleware(TokenCheck, sessions=sessions, throttle=throttle),
            Middleware(ClientWatch),
        ],
        exception_handlers={
            ApiError: on_api_error,
            HTTPException: on_http_exception,
            Exception: on_unexpected,
        },
        lifespan=realm_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.state.error_answers = Counter[str]()
    app.state.health = HealthDesk(
        settings,
        lambda: getattr(app.state, "service", None),
        lambda: getattr(app.state, "outage", None),
    )
    return app


@asynccontextmanager
async def realm_lifespan(app: Starlette) -> AsyncIterator[None]:
    """Run the service behind an application made by `realm_app`.

    Raises LogError if the log cannot be used.
    """
    keeper = ServiceKeeper(app.state, app.state.settings)
    await keeper.start()
    try:
        yield
    finally:
        await keeper.stop()


def _endpoints(login: Login, static: BuiltPages) -> list[Endpoint]:
    gone = ("not_found",)
    pages = (
        Endpoint("/", _index(static), "War Room.", media_types=_TEXTS, redirects=True),
        Endpoint(
            "/runs",
            static.page,
            "Runs: how each training goes, or ended.",
            media_types=_HTML,
            errors=gone,
            redirects=True,
        ),
        Endpoint(
            "/runs/{id}",
            _run_page(static),
            "One run: why it ended, its curves, ranks and events.",
            media_types=_HTML,
            errors=gone,
            missing=_HTML,
            redirects=True,
            route=RunRoute,
        ),
        Endpoint(
            "/battle-log",
            static.page,
            "Battle Log.",
            media_types=_HTML,
            errors=gone,
            redirects=True,
        ),
        Endpoint(
            "/alerts",
            static.page,
            "Alerts: rules, when they fired, and their messages.",
            media_types=_HTML,
            errors=gone,
            redirects=True,
        ),
        Endpoint(
            "/compare",
            static.page,
            "Two to six runs over each other.",
            media_types=_HTML,
            errors=gone,
            redirects=True,
        ),
        Endpoint(
            "/service-health",
            static.page,
            "Health: the service, its log, and all that sends; what is wrong and what to do.",
            media_types=_HTML,
            errors=gone,
            redirects=True,
        ),
        Endpoint(
            "/event-stream.js",
            static.script,
            "The live events for any page's scripts.",
            media_types=("text/javascript",),
            errors=gone,
        ),
        Endpoint(
            "/assets/{name}",
            static.asset,
            "What the pages are made of.",
            media_types=("text/javascript", "text/css", "application/octet-stream"),
            errors=gone,
        ),
        Endpoint("/api", get_index, "What is served where.", media_types=_TEXTS, redirects=True),
        Endpoint("/openapi.json", get_openapi, "This API as an OpenAPI document."),
        Endpoint(
            "/llms.txt", get_llms, "What this service is, for agents.", media_types=("text/plain",)
        ),
        Endpoint("/login", login.show, "The log-in form.", media_types=_HTML, redirects=True),
        Endpoint(
            "/login",
            login.submit,
            "Exchange the token for a cookie.",
            media_types=_HTML,
            errors=("body_timeout", "body_too_large", "unsupported_media_type"),
            method="POST",
            body_types=("application/x-www-form-urlencoded",),
            body=LOGIN,
            redirects=True,
        ),
    )
    older: tuple[Endpoint, ...] = extension("service.routes")
    return [*ENDPOINTS, *older, *pages]


def _index(static: BuiltPages) -> Handler:
    """`/`: the War Room for browsers where it is built, else what is served where."""

    async def get_war_room(request: Request) -> Response:
        if static.built and "text/html" in request.headers.get("accept", ""):
            return await static.page(request)
        return await get_index(request, "" if static.built else HOW_TO_BUILD)

    return get_war_room


def _run_page(static: BuiltPages) -> Handler:
    """The page of a run; with status 404 if there is no such run, as the page then says too."""

    async def get_run_page(request: Request) -> Response:
        return static.file(request, RUN_PAGE, 200 if await may_be_run(request) else 404)

    return get_run_page


async def get_index(request: Request, remark: str = "") -> Response:
    """What is served where: a page for browsers, plain text for terminals."""
    rows = service_of(request.scope).live.last(INDEX_EVENTS)
    routes = [(_shown(one), one.summary) for one in documented_endpoints()]
    headers = {"cache-control": "no-store", "vary": "accept"}
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(index_text(routes, rows, remark), headers=headers)
    headers["content-security-policy"] = HTML_POLICY
    return HTMLResponse(index_page(routes, rows, remark), headers=headers)


def _shown(endpoint: Endpoint) -> str:
    return endpoint.path if endpoint.method == "GET" else f"{endpoint.method} {endpoint.path}"


async def get_openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return json_answer(openapi_document(documented_endpoints(), _version()))


def documented_endpoints() -> list[Endpoint]:
    """All routes, for documents; the handlers of the log-in are not bound to a service."""
    return _endpoints(Login(None, Throttle(1, 1.0), 1.0), BuiltPages(_NOWHERE))


def _version() -> str:
    try:
        return version("realm-telemetry")
    except PackageNotFoundError:
        return "0"

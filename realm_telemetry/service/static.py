"""The built pages: War Room, Battle Log and their assets, read once when the service starts.

They are built from `web/` into `static/` (`make pages`); wheels contain them, an editable install
does not. Without them the API works all the same, and `/` says how to build them.
"""

import gzip
import mimetypes
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.headers import PAGE_POLICY

STATIC: Final = Path(__file__).with_name("static")
PAGES: Final = {"/": "index.html", "/battle-log": "battle-log.html"}
HOW_TO_BUILD: Final = "The pages are not built. Build them in the checkout: make pages"

_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
_WORTH_PACKING: Final = 1_000


class StaticFile(NamedTuple):
    """A file in memory, as it is and compressed."""

    media_type: str
    data: bytes
    packed: bytes | None


def pages_built(directory: Path = STATIC) -> bool:
    """Return whether both pages are in a directory."""
    return all((directory / name).is_file() for name in PAGES.values())


class BuiltPages:
    """The files below a directory by their path in it; empty if nothing is built."""

    def __init__(self, directory: Path = STATIC) -> None:
        paths = [path for path in directory.rglob("*") if path.is_file()]
        self._files = {path.relative_to(directory).as_posix(): _read(path) for path in paths}

    @property
    def built(self) -> bool:
        """Whether both pages are there."""
        return all(name in self._files for name in PAGES.values())

    async def page(self, request: Request) -> Response:
        """A page by its path. It is asked for anew each time, because it names the assets."""
        name = PAGES.get(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
        if name is None or name not in self._files:
            raise ApiError("not_found", HOW_TO_BUILD, "GET /api says what is served.")
        headers = {"content-security-policy": PAGE_POLICY, "cache-control": "no-store"}
        return self._answer(request, name, headers)

    async def script(self, request: Request) -> Response:
        """event-stream.js, which other pages load by name."""
        return self._answer(request, "event-stream.js", {"cache-control": "no-cache"})

    async def asset(self, request: Request) -> Response:
        """A file whose name changes with its content."""
        # A worker has a policy of its own: that of its script's answer.
        headers = {
            "cache-control": "public, max-age=31536000, immutable",
            "content-security-policy": PAGE_POLICY,
        }
        return self._answer(request, f"assets/{request.path_params['name']}", headers)

    def _answer(self, request: Request, name: str, headers: dict[str, str]) -> Response:
        file = self._files.get(name)
        if file is None:
            raise ApiError("not_found")
        headers["vary"] = "accept, accept-encoding"
        if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(file.packed, 200, headers, file.media_type)
        return Response(file.data, 200, headers, file.media_type)


def _read(path: Path) -> StaticFile:
    data = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    packed = gzip.compress(data, 9, mtime=0) if len(data) > _WORTH_PACKING else None
    return StaticFile(media_type or "application/octet-stream", data, packed)

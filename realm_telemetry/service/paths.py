"""The path of a request below the path that the application is mounted at."""

from urllib.parse import quote

from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """The path below the mount point."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def sent_path(scope: Scope) -> str:
    """The same, still percent-encoded: a run id in it may have a slash of its own."""
    raw: bytes | None = scope.get("raw_path")
    sent = raw.decode("latin-1") if raw else quote(scope["path"])
    return sent.removeprefix(quote(scope.get("root_path", "")))

"""The path of a request below the path that the application is mounted at."""

from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """The path below the mount point."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path

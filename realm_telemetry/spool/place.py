"""Where the spool can be: the first of some directories that is local, writable and ours."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from realm_telemetry.home import SPOOL, is_local_filesystem, make_private_directory


def spool_roots(
    home: Path, chosen: Path | None = None, environ: Mapping[str, str] = os.environ
) -> list[Path]:
    """The directories to try, best first: REALM_SPOOL, the home, XDG_RUNTIME_DIR, /var/tmp."""
    roots = [chosen] if chosen else []
    roots.append(home / SPOOL)
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        roots.append(Path(runtime) / "realm" / "spool")
    roots.append(Path("/var/tmp") / f"realm-{os.getuid()}" / "spool")
    return roots


def find_spool_root(roots: list[Path]) -> tuple[Path | None, list[str]]:
    """The first usable root, made if need be, and why those before it are not usable."""
    problems: list[str] = []
    for root in roots:
        problem = _problem(root)
        if problem is None:
            return root, problems
        problems.append(f"{root} {problem}")
    return None, problems


def _problem(root: Path) -> str | None:
    try:
        make_private_directory(root)
        found = root.lstat()
    except OSError as error:
        return f"cannot be made ({error.strerror})"
    # Another user could have made a directory in /var/tmp that is waiting for us.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return "belongs to somebody else"
    local, kind = is_local_filesystem(root)
    if not local:
        return f"is on a network file system ({kind})"
    if not os.access(root, os.W_OK | os.X_OK):
        return "cannot be written"
    return None

"""Where the spool can be: the first of some directories that is local, writable and ours.

A spool's pipeline names what its shipper imports, so a directory that another user made, or could
put in the place of ours, is never used: see `home.open_own_directory`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from realm_telemetry.home import (
    SPOOL,
    UnsafeDirectoryError,
    is_local_filesystem,
    open_own_directory,
)


def spool_roots(
    home: Path, chosen: Path | None = None, environ: Mapping[str, str] = os.environ
) -> list[Path]:
    """The directories to try, best first: REALM_SPOOL, the home, XDG_RUNTIME_DIR, /var/tmp."""
    roots = [chosen] if chosen else []
    roots.append(home / SPOOL)
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        roots.append(Path(runtime) / "realm" / "spool")
    roots.append(Path("/var/tmp") / f"realm-{os.geteuid()}" / "spool")
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
    """Why a directory cannot be a spool root, as the words behind its name."""
    try:
        os.close(open_own_directory(root, make=True))
    except UnsafeDirectoryError as error:
        return f"is not safe: {error}".rstrip(".")
    except OSError as error:
        return f"cannot be made ({error.strerror})"
    local, kind = is_local_filesystem(root)
    if not local:
        return f"is on a network file system ({kind})"
    if not os.access(root, os.W_OK | os.X_OK):
        return "cannot be written"
    return None

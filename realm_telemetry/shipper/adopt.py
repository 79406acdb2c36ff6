"""Pipelines that nobody ships any more: of another version, or after a crash of the host."""

import os
from collections.abc import Callable
from pathlib import Path

from realm_telemetry.errors import ConfigError
from realm_telemetry.shipper.lock import is_held
from realm_telemetry.shipper.manifest import MANIFEST_NAME
from realm_telemetry.spool.reader import spool_directories


def orphaned_pipelines(spool_root: Path, own: Path) -> list[Path]:
    """Pipelines beside our own that hold spools and have no shipper.

    A spool's directory is there until every exporter has its last event, so a directory means
    work, whether its frames or a cursor wait.
    """
    found = []
    with os.scandir(spool_root) as entries:
        directories = [Path(entry.path) for entry in entries if entry.is_dir()]
    for directory in directories:
        if directory.name == own.name or not (directory / MANIFEST_NAME).exists():
            continue
        if spool_directories(directory) and not is_held(directory):
            found.append(directory)
    return found


def adopt(
    spool_root: Path, own: Path, launch: Callable[[Path], int], tell: Callable[[str], None]
) -> list[int]:
    """Start a shipper for each orphaned pipeline; the pids for `reap`.

    A process of its own, because exporters read the environment of their pipeline; run by our
    interpreter, because that of an older version may be gone.
    """
    pids = []
    for directory in orphaned_pipelines(spool_root, own):
        try:
            pids.append(launch(directory))
            tell(f"started a shipper for the orphaned pipeline {directory.name}")
        except (OSError, ConfigError) as error:
            tell(f"no shipper could be started for the orphaned pipeline {directory}: {error}")
    return pids

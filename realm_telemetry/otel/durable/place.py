"""Where a durable processor's spools are: `otel/<name>/spool/<producer>/` below a spool root.

Not a pipeline: there is no manifest, so no shipper of ours looks at it. Each name has a spool
root of its own and with it a cap of its own: a collector that is away fills no other's.
"""

import re
from pathlib import Path
from typing import Final

from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.home import make_private_directory
from realm_telemetry.spool.place import find_spool_root, spool_roots

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_name(name: str) -> str:
    """Return a processor's name.

    Raises ConfigError unless it can be the name of a directory.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"DurableLogRecordProcessor({name!r})",
            "the name is no name of a directory",
            "Use up to 64 letters, digits, `_`, `-` and `.`, a letter or digit first.",
        )
    return name


def spool_directory(settings: Settings, name: str) -> Path:
    """Return the directory of a name's spools, made if need be.

    Raises OSError where no directory on a local disk can be made; its text says why.
    """
    root, problems = find_spool_root(spool_roots(settings.home, settings.spool))
    if root is None:
        raise OSError("; ".join(problems))
    directory = root / "otel" / name / "spool"
    make_private_directory(directory)
    return directory

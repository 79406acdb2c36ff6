"""The manifest of a pipeline: all that a shipper needs to know, written by the producer."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.home import (
    LOG,
    LOGS,
    SPOOL,
    UnsafeDirectoryError,
    open_own_directory,
    read_own_file,
)
from realm_telemetry.values.conversions import read_item, safe_text

MANIFEST_NAME: Final = "manifest.json"
_EXPORTER_ENVIRONMENT: Final = (
    "OTEL_EXPORTER_",
    "OTEL_METRIC_EXPORT_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_",
)
# Set by the first producer of a pipeline; they do not make another pipeline.
_NOT_IN_ID: Final = ("pipeline", "created_unix_nano", "service_name", "import_path")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One set of exporters, options, token, environment and version.

    pipeline: the name of the pipeline's directory; empty until `pipeline_id` has given it.
    python: the interpreter that runs the shipper.
    exporters, processors: names of entry points, or "module:attribute".
    options: settings of exporters and processors by their names.
    redact: further keys whose values are secrets.
    import_path: where "module:attribute" is looked for, before the interpreter's own path.
    environment: the variables that exporters read, as the producer saw them.
    log_max_bytes: the size at which the shipper's log file is rotated.
    """

    version: str
    python: str
    home: str
    log_path: str
    search_path: str
    service_url: str
    token: str | None = None
    exporters: list[str] = []
    processors: list[str] = []
    options: dict[str, dict[str, Any]] = {}
    redact: list[str] = []
    import_path: list[str] = []
    environment: dict[str, str] = {}
    service_name: str | None = None
    linger_s: float = 600.0
    log_max_bytes: int = 1_000_000
    pipeline: str = ""
    created_unix_nano: int = 0

    @property
    def shipper_log_path(self) -> Path:
        """The file in which a person reads what the shipper did."""
        return Path(self.home) / LOGS / f"shipper-{self.pipeline}.log"


_MAX_OPTION_CHARS: Final = 65_536


def _option_text(value: Any) -> str:
    """Options may be paths; what is no JSON value otherwise is one by its text, within a limit."""
    return safe_text(read_item(value, str, value)[:_MAX_OPTION_CHARS])


_encode = msgspec.json.Encoder(order="deterministic", enc_hook=_option_text).encode
_decode = msgspec.json.Decoder(Manifest).decode


def exporter_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Pick the variables that change where exporters deliver to."""
    return {
        name: value
        for name, value in environ.items()
        if name.upper().startswith(_EXPORTER_ENVIRONMENT)
    }


def pipeline_id(manifest: Manifest) -> str:
    """Name the pipeline of a manifest: 12 hex digits over everything that matters."""
    from hashlib import blake2b

    fields = msgspec.structs.asdict(manifest)
    named = {name: value for name, value in fields.items() if name not in _NOT_IN_ID}
    if any(":" in name for name in manifest.exporters + manifest.processors):
        named["import_path"] = manifest.import_path
    return blake2b(_encode(named), digest_size=6).hexdigest()


def write_manifest(spool_root: Path, manifest: Manifest) -> Path:
    """Write the manifest into its pipeline's directory, unless a whole one is there; the directory.

    Atomic: a reader sees no manifest or a whole one. It holds the token: mode 0600.
    Raises OSError if the spool root cannot be written.
    """
    named = msgspec.structs.replace(manifest, pipeline=manifest.pipeline or pipeline_id(manifest))
    directory = spool_root / named.pipeline
    if _is_written(directory):
        return directory
    os.close(open_own_directory(directory, make=True))
    # Not the pid: containers that share a home have the same ones.
    staging = directory / f".{MANIFEST_NAME}-{os.urandom(4).hex()}"
    try:
        with open(staging, "xb", opener=_open_private) as file:
            file.write(_encode(named))
        staging.replace(directory / MANIFEST_NAME)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    return directory


def _is_written(directory: Path) -> bool:
    """Whether the manifest is there and whole: a power failure may leave an empty one."""
    try:
        read_manifest(directory)
    except ConfigError:
        return False
    return True


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_manifest(pipeline_dir: Path) -> Manifest:
    """Read a pipeline's manifest, which names what is imported and run.

    Every way to a shipper leads through here, so this is where a manifest that another user wrote,
    or could have put there, is refused.
    Raises ConfigError if there is none, it is not one, or it is not safe.
    """
    path = pipeline_dir / MANIFEST_NAME
    fix = "Run `configure()` again; it writes a new one."
    try:
        return _where_it_is(_decode(read_own_file(pipeline_dir, MANIFEST_NAME)), pipeline_dir)
    except UnsafeDirectoryError as error:
        problem = f"{path} is not run: {error.problem}"
        fix = f"Ship it as the user that it belongs to. {error.fix}".strip()
    except OSError as error:
        problem = f"{path} cannot be read ({error.strerror})"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem = f"{path} is not a manifest ({error})"
    raise ConfigError("spool", problem, fix)


def _where_it_is(manifest: Manifest, pipeline_dir: Path) -> Manifest:
    """Read a manifest in a home that was renamed as that home's: its log was renamed with it."""
    named, found = Path(manifest.home), pipeline_dir.absolute().parent.parent
    in_a_home = pipeline_dir.parent.name == SPOOL and (found / LOG).exists()
    if not in_a_home or found == named or (named.exists() and named.samefile(found)):
        return manifest
    paths = {}
    for name in ("log_path", "search_path"):
        path = Path(getattr(manifest, name))
        if path.is_relative_to(named):
            paths[name] = str(found / path.relative_to(named))
    return msgspec.structs.replace(manifest, home=str(found), **paths)


def join_surroundings(manifest: Manifest) -> None:
    """Extend this process's import path and set the variables that exporters read.

    The producer's path comes last: a script's directory often has names that hide others.
    """
    sys.path += [entry for entry in manifest.import_path if entry not in sys.path]
    os.environ.update(manifest.environment)

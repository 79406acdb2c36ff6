"""Settings: arguments win over environment, environment over the inherited pipeline, that over
`realm.toml`, and that over the defaults."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from realm_telemetry.errors import ConfigError, warn_once
from realm_telemetry.home import (
    LOG,
    SEARCH_INDEX,
    SETTINGS_FILE,
    STATE,
    is_address,
    is_planted,
    read_regular_file,
    said_service,
)
from realm_telemetry.home.shared import is_shared, local_home, read_service, shared_home_of
from realm_telemetry.home.token import DEFAULT_SERVICE_URL as DEFAULT_SERVICE_URL
from realm_telemetry.home.token import addresses_of, answers_another, is_of_this_host
from realm_telemetry.home.token import home_token as home_token
from realm_telemetry.home.token import token_for as token_for
from realm_telemetry.values.conversions import ENDING, error_text
from realm_telemetry.values.settings import (
    is_list,
    one_of,
    plain_text,
    read_flag,
    read_items,
    read_names,
    read_path,
    read_table,
    read_text,
    resource_table,
    shown,
)

HOME_VARIABLE: Final = "REALM_HOME"
SHIPPER_MODES: Final = ("process", "thread", "none")
EXIT_WAITS: Final = ("auto", "always", "never")
ACCESS: Final = ("open", "token")
DURABILITIES: Final = ("process", "power")
DEFAULT_SERVICE_NAME: Final = "unknown_service"
MIN_SPOOL_BYTES: Final = 256 * 1024
DEFAULT_OUTPUT_BYTES: Final = 2 * 1024 * 1024 * 1024
MAX_SPOOL_BYTES: Final = 2**50
MAX_RUN_ID_CHARS: Final = 256
OF_COMMAND: Final = "REALM_RUN_OF_COMMAND"
"""Names the run that `realm run` gives its command, where REALM_RUN_ID is not the user's own."""
MAX_SERVICE_URLS: Final = 16


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a process, resolved and checked.

    Sizes are bytes, times seconds. See docs/configuration.md for each.
    service_url: several addresses of one service have commas between; `addresses_of` parts them.
    run_origin: where `run_id` comes from: `given` by the user and good for the whole process;
        `derived` from launcher, scheduler or parent; `command`: from `realm run` above;
        `ended`: the parent's, whose run is over.
    shared_home: the home on a network file system for which `home` stands on this host.
    """

    home: Path
    shared_home: Path | None = None
    service_name: str = DEFAULT_SERVICE_NAME
    exporters: tuple[Any, ...] = ("battle_log", "realm_service")
    processors: tuple[Any, ...] = ()
    service_url: str = DEFAULT_SERVICE_URL
    token: str | None = None
    access: str = "open"
    shipper: str = "process"
    exit_wait: str = "auto"
    durability: str = "process"
    spool: Path | None = None
    max_spool_bytes: int = 256 * 1024 * 1024
    output_bytes: int = DEFAULT_OUTPUT_BYTES
    run_id: str | None = None
    run_origin: str = "given"
    disabled: bool = False
    resource: dict[str, Any] = {}
    redact: tuple[str, ...] = ()
    options: dict[str, dict[str, Any]] = {}
    service: dict[str, Any] = {}
    watch: dict[str, Any] = {}
    run: dict[str, Any] = {}
    labels: dict[str, Any] = {}

    @property
    def log_path(self) -> Path:
        """The log."""
        return self.home / LOG

    @property
    def search_path(self) -> Path:
        """The full-text index."""
        return self.home / SEARCH_INDEX

    @property
    def state_path(self) -> Path:
        """The snapshots of RealmState, where the service keeps them: curves are beside them."""
        chosen = self.service.get("state_path")
        return Path(chosen) if isinstance(chosen, str) else self.home / STATE


class Setting(NamedTuple):
    """Where one setting comes from.

    variables: environment variables, the first that is set counts.
    parse: takes text, or what `realm.toml` and `configure` hold; raises ValueError saying
        what it wants.
    """

    variables: tuple[str, ...]
    parse: Callable[[Any], Any]


def _run_id(value: Any) -> str:
    text = read_text(value).encode("utf-8", "replace").decode()
    if len(text) > MAX_RUN_ID_CHARS:
        problem = f"needs at most {MAX_RUN_ID_CHARS} characters and has {len(text)}; shorten it"
        raise ValueError(problem)
    return text


def _redact(value: Any) -> tuple[str, ...]:
    """Names, patterns as `/.../`, or `off`; see docs/redaction.md."""
    entries = read_names(value)
    for entry in entries:
        if not isinstance(entry, str):
            raise ValueError("needs names as text")
        if entry.startswith("/") and not _is_pattern(entry):
            raise ValueError(f"needs a pattern like /lab-[0-9]+/, and {entry} is none")
    return entries


def _is_pattern(entry: str) -> bool:
    import re  # nearly no one has patterns

    try:
        re.compile(entry[1:-1])
    except re.error:
        return False
    return len(entry) > 2 and entry.endswith("/")


def _urls(value: Any) -> str:
    """One address, or several of services with one log; with commas between, as they are kept."""
    given = addresses_of(plain_text(value)) if issubclass(type(value), str) else value
    addresses = read_items(given) if is_list(given) else []
    if not addresses:
        raise ValueError("needs an address, or a list of addresses")
    urls = dict.fromkeys(read_text(each).rstrip("/") for each in addresses)
    for url in urls:
        if not url.startswith(("http://", "https://")) or "," in url:
            raise ValueError("needs to begin with http:// or https://, each address of a list too")
        # Nearly every process has the default alone, and needs nothing imported for it.
        if url != DEFAULT_SERVICE_URL and not is_address(url):
            raise ValueError("is no address: write it like http://127.0.0.1:8866")
    if len(urls) > MAX_SERVICE_URLS:
        raise ValueError(f"needs at most {MAX_SERVICE_URLS} addresses and has {len(urls)}")
    return ",".join(urls)


def _bytes(value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("needs a whole number of bytes") from None
    if number < MIN_SPOOL_BYTES:
        raise ValueError(f"needs at least {MIN_SPOOL_BYTES} bytes")
    if number > MAX_SPOOL_BYTES:
        raise ValueError(f"needs at most {MAX_SPOOL_BYTES} bytes")
    return int.__pos__(number)


SETTINGS: Final[dict[str, Setting]] = {
    "service_name": Setting(("OTEL_SERVICE_NAME", "REALM_SERVICE_NAME"), read_text),
    "exporters": Setting(("REALM_EXPORTERS",), read_names),
    "processors": Setting(("REALM_PROCESSORS",), read_names),
    "service_url": Setting(("REALM_SERVICE_URL",), _urls),
    "token": Setting(("REALM_TOKEN",), read_text),
    "access": Setting(("REALM_ACCESS",), one_of(*ACCESS)),
    "shipper": Setting(("REALM_SHIPPER",), one_of(*SHIPPER_MODES)),
    "exit_wait": Setting(("REALM_EXIT_WAIT",), one_of(*EXIT_WAITS)),
    "durability": Setting(("REALM_DURABILITY",), one_of(*DURABILITIES)),
    "spool": Setting(("REALM_SPOOL",), read_path),
    "max_spool_bytes": Setting(("REALM_MAX_SPOOL_BYTES",), _bytes),
    "output_bytes": Setting(("REALM_OUTPUT_BYTES",), _bytes),
    "run_id": Setting(("REALM_RUN_ID",), _run_id),
    "disabled": Setting(("OTEL_SDK_DISABLED",), read_flag),
    "redact": Setting(("REALM_REDACT",), _redact),
    "resource": Setting((), resource_table),
    "options": Setting((), read_table),
    "service": Setting((), read_table),
    "watch": Setting((), read_table),
    "run": Setting((), read_table),
    "labels": Setting((), read_table),
}
"""Every setting but `home` (`REALM_HOME`), which says where `realm.toml` is."""

_LAUNCH_VARIABLES: Final = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID")
"""What launchers and schedulers call the run."""


def load_settings(
    arguments: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    inherited: Mapping[str, Any] | None = None,
) -> Settings:
    """Resolve all settings; arguments that are None count as not given.

    inherited: what a child takes over from its parent's pipeline. It wins over a variable that the
    parent had too, so that what the parent's code said counts; `environ` in it tells which.
    Raises ConfigError, which names the setting and the fix.
    """
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    inherited = inherited or {}
    anew = _set_anew(environ, inherited.get("environ"))
    home = _find_home(given.pop("home", None), anew, inherited, environ)
    try:
        home, shared = _of_this_disk(home, environ)
        settings_file = (shared or home) / SETTINGS_FILE
        file = _read_file(settings_file)
    except OSError as error:  # links that may not be followed, names that no disk takes
        problem = f"{home} cannot be looked at ({error.strerror})"
        raise ConfigError("home", problem, "Set REALM_HOME to a directory.") from None
    _refuse_unknown("configure()", given)
    _refuse_unknown(str(settings_file), file)
    resolved: dict[str, Any] = {}
    run = _run_of(environ, anew, inherited)
    inherited = {name: value for name, value in inherited.items() if name != "run_id"} | run
    for name, setting in SETTINGS.items():
        where, value = _look_up(name, setting, given, anew, inherited, environ, file)
        if where is not None:
            resolved[name] = _parse(name, setting, where, value)
        if name == "run_id" and where == "REALM_PIPELINE":
            resolved["run_origin"] = run["run_origin"]
        elif name == "run_id" and where in setting.variables and value == environ.get(OF_COMMAND):
            resolved["run_origin"] = "command"
    resolved["resource"] = _resource(environ) | resolved.get("resource", {})
    if "service_name" not in resolved and "service.name" in resolved["resource"]:
        resolved["service_name"] = str(resolved["resource"]["service.name"])
    return _checked(_with_token(Settings(home=home, shared_home=shared, **resolved)), given)


def _with_token(settings: Settings) -> Settings:
    """Add the token of the home; a service of another host must not see it."""
    if settings.access != "token" or settings.token or not is_of_this_host(settings.service_url):
        return settings
    token = home_token(settings.shared_home or settings.home)
    return msgspec.structs.replace(settings, token=token)


def located(settings: Settings) -> Settings:
    """Add the address that the service of the home says it has, unless another one is given."""
    if settings.service_url != DEFAULT_SERVICE_URL:
        return settings
    try:
        url = service_url_of(settings.home)
    except ConfigError as error:
        warn_once(str(error), str(error))
        return settings
    if answers_another(settings.home, url):
        message = (
            f"Another service answers at {url}, where service.json of"
            f" {settings.shared_home or settings.home} names its own: that file is of another"
            " network, or old, or copied. Set service_url (REALM_SERVICE_URL) to where the service"
            " of this home is reached, or start it again: realm up"
        )
        warn_once(message, message)
        url = DEFAULT_SERVICE_URL
    token = token_for(settings.home, settings.token, url)
    return msgspec.structs.replace(settings, service_url=url, token=token)


def service_log_url(settings: Settings) -> str | None:
    """Return the URL of the service's log, where that is not the home's own file."""
    url = os.environ.get("REALM_LOG_URL") or settings.service.get("log_url")
    return str(url) if url else None


def service_url_of(home: Path) -> str:
    """Return where the service of a home is, or would be.

    Raises ConfigError where its file is broken, or that of a shared home says nothing that helps.
    """
    running = said_service(home)
    if running is not None:
        return running.url
    shared = shared_home_of(home)
    service = read_service(shared) if shared else None
    return DEFAULT_SERVICE_URL if service is None else service.url()


def variable_marks(environ: Mapping[str, str]) -> dict[str, int]:
    """What a child needs to know which variables it was given anew; says nothing of the values."""
    names = {name for setting in SETTINGS.values() for name in setting.variables}
    names |= {HOME_VARIABLE, *_LAUNCH_VARIABLES}
    return {name: crc32(environ[name].encode("utf-8", "replace")) for name in names & set(environ)}


def _set_anew(environ: Mapping[str, str], parents: Any) -> dict[str, str]:
    """The variables that have a value, and not the one that the parent had."""
    marks = variable_marks(environ)
    parents = parents if isinstance(parents, dict) else {}
    return {
        name: environ[name]
        for name, mark in marks.items()
        if environ[name].strip() and parents.get(name) != mark
    }


def _run_of(
    environ: Mapping[str, str], anew: Mapping[str, str], inherited: Mapping[str, Any]
) -> dict[str, Any]:
    """The run that a process is in if nobody names one, with its origin.

    What the parent's code named goes first, then what a launcher or scheduler started since, then
    the parent's run.
    """
    parents = inherited.get("run_id")
    origin = inherited.get("run_origin", "given")
    launched = run_of_launch(environ)
    is_anew = any(name in anew for name in _LAUNCH_VARIABLES)
    is_named = origin in ("given", "command")
    if launched is not None and (not parents or (not is_named and is_anew)):
        return {"run_id": launched, "run_origin": "derived"}
    return {"run_id": parents, "run_origin": origin} if parents else {}


def run_of_launch(environ: Mapping[str, str]) -> str | None:
    """Return the run id that torchrun or Slurm gives all processes of a run; None without one.

    torchrun's is "none" where nobody chose one, and then says nothing.
    """
    elastic = environ.get("TORCHELASTIC_RUN_ID", "").strip()
    job = environ.get("SLURM_JOB_ID", "").strip()
    task = environ.get("SLURM_ARRAY_TASK_ID", "").strip()
    found = f"slurm-{job}_{task}" if task else f"slurm-{job}"
    if elastic and elastic.lower() != "none":
        found = elastic
    elif not job:
        return None
    return found.encode("utf-8", "replace").decode()[:MAX_RUN_ID_CHARS]


def _find_home(
    given: Any,
    anew: Mapping[str, str],
    inherited: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Path:
    value = str.__str__(given) if issubclass(type(given), str) else given
    if value is None or (type(value) is str and not value):
        value = anew.get(HOME_VARIABLE) or inherited.get("home") or environ.get(HOME_VARIABLE)
    try:
        return read_path(value or "~/.realm")
    except ENDING:
        raise
    except BaseException as error:  # noqa: BLE001 - a value's own code may raise anything
        raise ConfigError("home", error_text(error), "Set REALM_HOME to a directory.") from None


def _of_this_disk(home: Path, environ: Mapping[str, str]) -> tuple[Path, Path | None]:
    """Return the home on a disk of this host, and the shared home that it stands for, if any."""
    shared = shared_home_of(home)
    if shared is not None:
        return home, shared
    local = local_home(home, environ) if is_shared(home) else None
    return (home, None) if local is None else (local, home)


def _read_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    import tomllib  # costs 10 ms, so only where there is a file

    try:
        if is_planted(path):  # it names what is imported, and where events and the token go
            warn_once(
                f"planted {path}",
                f"{path} is not read: it belongs to another user, in a directory where everybody"
                " can make files. Set REALM_HOME to a directory of this user's own.",
            )
            return {}
        # With the mark that editors on Windows put before it.
        return tomllib.loads(read_regular_file(path).decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), f"is not TOML: {error}", "Correct that line.") from None
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "Make it readable, or remove it."
        ) from None


def _look_up(
    name: str,
    setting: Setting,
    given: Mapping[str, Any],
    anew: Mapping[str, str],
    inherited: Mapping[str, Any],
    environ: Mapping[str, str],
    file: Mapping[str, Any],
) -> tuple[str | None, Any]:
    if name in given:
        return f"the argument {name}", given[name]
    for variable in setting.variables:
        if variable in anew:
            return variable, anew[variable]
    if inherited.get(name) is not None:
        return "REALM_PIPELINE", inherited[name]
    for variable in setting.variables:
        if environ.get(variable, "").strip():
            return variable, environ[variable]
    if name in file:
        return f"{name} in realm.toml", file[name]
    return None, None


def _parse(name: str, setting: Setting, where: str, value: Any) -> Any:
    try:
        return setting.parse(value)
    except ENDING:
        raise
    except BaseException as error:  # noqa: BLE001 - a value's own code may raise anything
        given = "a secret" if name == "token" else shown(value)
        fix = "See docs/configuration.md."
        raise ConfigError(where, f"{given} {error_text(error)}", fix) from None


def _refuse_unknown(where: str, given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in SETTINGS:
            from difflib import get_close_matches

            near = get_close_matches(name, SETTINGS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(SETTINGS)}."
            raise ConfigError(where, f"there is no setting {name!r}", hint)


def _resource(environ: Mapping[str, str]) -> dict[str, Any]:
    """OTEL_RESOURCE_ATTRIBUTES: `key=value,key=value`, values percent-encoded."""
    text = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not text.strip():
        return {}
    from urllib.parse import unquote

    pairs = (item.partition("=") for item in text.split(",") if "=" in item)
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}


def _checked(settings: Settings, given: Mapping[str, Any]) -> Settings:
    objects = [item for item in settings.exporters + settings.processors if type(item) is not str]
    if not objects or settings.shipper == "thread":
        return settings
    if given.get("shipper") is not None:
        raise ConfigError(
            f"shipper={settings.shipper!r}",
            f"{shown(objects[0])} is an object of this process, which no other process can use",
            "Use shipper='thread', or name the exporter or processor by its entry point.",
        )
    return msgspec.structs.replace(settings, shipper="thread")

"""What the RealmService needs to know, as plain data."""

from ipaddress import ip_network
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Final, TypeVar

import msgspec

from realm_telemetry.config import Settings, home_token, service_log_url
from realm_telemetry.errors import ConfigError
from realm_telemetry.home import LOG, SEARCH_INDEX, STATE, TOKEN

T = TypeVar("T")

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Binds that only this machine reaches, so that no token is asked for."""

EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})
"""Binds of all addresses of this machine, which are none to go to."""

MIN_TOKEN: Final = 8
"""Characters; NIST SP 800-63B asks for so many of a secret that people choose."""

MIB: Final = 1024 * 1024

Seconds = Annotated[float, msgspec.Meta(gt=0)]
LogUrl = Annotated[str, msgspec.Meta(pattern="^postgresql://")]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Address = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s<>|\"\\]+$")]


OF_POSTGRES: Final = {"retention_bytes": 200 * 1024 * MIB, "retention_thin_hours": 24.0}
"""Defaults of a log in PostgreSQL: a lab's, on a disk that is bought for it."""


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the pages call heroes and campaigns; None: by what the log has."""

    hero: Label | None = None
    campaign: Label | None = None


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one RealmService; every limit that docs/http-api.md names is here.

    port, battle_log_port, ui_port: 0 lets the system choose.
    ping_url: asked with GET every ping_interval_s while the log can be written; a secret.
    public_url: where others reach this service; messages link to it.
    exporters: follow the whole log while the service runs; options: their settings by name.
    token: asked of every request if set; required for a host that is not loopback.
    access: with "token" loopback asks for one too: `token`, or else the one of the home.
    allowed_hosts: names besides the loopback ones that a Host header may carry; `*` is any.
    trusted_proxies: addresses or networks that may have any number of connections, and say whether
        a browser came by TLS; as loopback may.
    retention_days, retention_bytes: None leaves that bound out. retention_thin_hours: routine kinds
    that arrived longer ago are thinned whatever the size; None or 0 for never.
    redact: what is taken out of events beside the built-in rules; the setting of `realm.toml`.
    spool: where programs of this home keep their spools, if not there; the setting of `realm.toml`.
    log_url: of a log in PostgreSQL, instead of the home's; it may hold a password.
    log_retry_s: for how long an append waits for its server before it is refused with a 503.
    log_connect_timeout_s: for each server of the URL.
    labels: the table `[labels]` of `realm.toml`.
    """

    log_path: Path
    search_path: Path
    state_path: Path

    exporters: tuple[str, ...] = ("webhook",)
    options: dict[str, dict[str, Any]] = {}
    redact: tuple[str, ...] = ()
    spool: Path | None = None
    log_url: LogUrl | None = None
    log_retry_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    log_connect_timeout_s: Annotated[int, msgspec.Meta(ge=1)] = 2
    labels: Labels = Labels()

    host: str = "127.0.0.1"
    port: int = 8866
    public_url: Address | None = None
    battle_log_port: int = 8767
    ui_port: int = 8888
    token: str | None = None
    access: str = "open"
    allowed_hosts: tuple[str, ...] = ()

    max_connections: int = 1024
    max_connections_per_address: int = 128
    trusted_proxies: tuple[str, ...] = ()
    header_timeout_s: Seconds = 15.0
    idle_timeout_s: Seconds = 30.0

    max_body_bytes: int = 64 * MIB
    max_compressed_bytes: int = 16 * MIB
    max_batch_events: int = 50_000
    max_body_values: int = 1_000_000
    body_timeout_s: float = 30.0
    ingest_queue_events: int = 200_000
    ingest_queue_bytes: int = 128 * MIB

    max_stream_clients: int = 512
    ring_frames: int = 8_192
    ring_bytes: int = 32 * MIB
    keepalive_s: float = 15.0
    write_timeout_s: float = 10.0
    stream_coalesce_s: float = 0.010
    routine_interval_s: float = 0.100

    tail_poll_s: float = 0.005
    query_threads: int = 4
    query_timeout_s: Seconds = 10.0
    snapshot_interval_s: float = 30.0
    upkeep_interval_s: float = 1.0
    ping_url: Address | None = None
    ping_interval_s: Seconds = 60.0
    retention_days: float | None = 30.0
    retention_bytes: int | None = 2048 * MIB
    retention_thin_hours: Annotated[float, msgspec.Meta(ge=0)] | None = None
    shutdown_s: float = 5.0
    login_attempts: int = 10
    login_window_s: float = 60.0

    @property
    def home(self) -> Path:
        """The home that the log is in."""
        return self.log_path.parent.parent

    def moved_to(self, log_url: str) -> "ServiceSettings":
        """Return these with another place of the log, and its limits where none were given."""
        usual = {field.name: field.default for field in msgspec.structs.fields(self)}
        limits: dict[str, Any] = {
            name: value for name, value in OF_POSTGRES.items() if getattr(self, name) == usual[name]
        }
        return msgspec.structs.replace(self, log_url=log_url, **limits)

    @property
    def log_place(self) -> str | Path:
        """What `open_log` opens the service's log by."""
        if self.log_url is None:
            return self.log_path
        mark = "&" if "?" in self.log_url else "?"
        given = {"log_retry_s": self.log_retry_s, "connect_timeout": self.log_connect_timeout_s}
        # What stands in the URL itself is for this log alone, and counts.
        missing = [f"{name}={value}" for name, value in given.items() if name not in self.log_url]
        return self.log_url + (mark + "&".join(missing) if missing else "")

    @property
    def address(self) -> str:
        """Where people reach it: `public_url`, else the host and port that it binds."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        host = gethostname() if self.host in EVERY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @classmethod
    def for_home(cls, home: Path, **options: object) -> "ServiceSettings":
        """Settings with the paths of a REALM_HOME."""
        paths = {
            "log_path": home / LOG,
            "search_path": home / SEARCH_INDEX,
            "state_path": home / STATE,
        }
        return cls(**(paths | options))  # type: ignore[arg-type]  # options are fields by name

    @classmethod
    def of(cls, settings: "ServiceSettings | Settings") -> "ServiceSettings":
        """The service's settings out of a process's: its paths, token and `[service]` table.

        Raises ConfigError for a key that there is not, or a value of the wrong type.
        """
        if isinstance(settings, cls):
            return settings
        assert isinstance(settings, Settings)
        given = {
            "log_path": str(settings.log_path),
            "search_path": str(settings.search_path),
            "state_path": str(settings.state_path),
            "token": settings.token or _kept_token(settings),
            "access": settings.access,
            "options": settings.options,
            "redact": settings.redact,
            "spool": str(settings.spool) if settings.spool else None,
            "labels": _converted(settings.labels, Labels, "[labels] in realm.toml", "pages.md"),
            **settings.service,
        }
        if url := service_log_url(settings):
            given = OF_POSTGRES | given | {"log_url": url}
        return _converted(given, ServiceSettings, "[service] in realm.toml", "http-api.md")

    def check_access(self) -> None:
        """Refuse an address that others reach without a token, and proxies that are no address.

        Raises ConfigError.
        """
        for proxy in self.trusted_proxies:
            _check_network(proxy)
        if self.token is not None:
            check_token(self.token)
        elif self.access == "token":
            raise ConfigError(
                'access = "token"',
                f"needs {self.home / TOKEN}, which cannot be made",
                "Make the home writable, or set REALM_TOKEN.",
            )
        if self.token is None and self.host not in LOOPBACK_HOSTS:
            raise ConfigError(
                "REALM_TOKEN",
                f"is not set, and {self.host} can be reached from other machines",
                "Set it to a long random value (openssl rand -hex 32), or bind 127.0.0.1.",
            )


def _check_network(text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(
            "trusted_proxies in [service]",
            f"{text!r} is neither an address nor a network",
            'Write addresses or networks, such as ["10.0.0.5", "10.1.0.0/16"].',
        ) from None


def check_token(token: str) -> None:
    """Refuse a token that is too short, or that no header can carry. Raises ConfigError."""
    if len(token.strip()) < MIN_TOKEN:
        problem = f"has {len(token.strip())} characters, and needs at least {MIN_TOKEN}"
        raise ConfigError("REALM_TOKEN", problem, "Set a long random value: openssl rand -hex 32")
    if not (token.isascii() and token.isprintable()):
        problem = "has characters that no HTTP header can carry"
        raise ConfigError("REALM_TOKEN", problem, "Use letters and digits: openssl rand -hex 32")


def _kept_token(settings: Settings) -> str | None:
    return home_token(settings.shared_home or settings.home) if settings.access == "token" else None


def _converted(given: dict[str, Any], wanted: type[T], name: str, document: str) -> T:
    try:
        return msgspec.convert(given, wanted, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigError(name, str(error), f"docs/{document} lists the settings.") from None


def _path(wanted: type, value: Any) -> Any:
    if wanted is Path:
        return Path(value)
    raise NotImplementedError

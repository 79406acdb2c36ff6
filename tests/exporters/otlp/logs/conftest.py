"""Real receivers, rotel, pipelines, and exporters that send to them."""

import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import trustme

from realm_telemetry.plugins import ExporterContext, load_exporter
from tests.waiting import wait_until

from .lab import Lab
from .neighbours import Rotel, Wire
from .receivers import GrpcReceiver, HttpReceiver, Receiver

PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own; no setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith(("REALM_", "OTEL_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("REALM_HOME", str(home))
    return home


@pytest.fixture
def start_receiver() -> Iterator[Callable[..., Any]]:
    """Start receivers by their class; they are stopped at the end."""
    running: list[Any] = []

    def start(kind: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        running.append(kind(*arguments, **options))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def wire(start_receiver: Callable[..., Any]) -> Callable[[int], Wire]:
    """Put a counting proxy before a port."""
    return lambda port: start_receiver(Wire, port)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each test with it runs over HTTP and over gRPC."""
    return str(request.param)


@pytest.fixture
def receiver(protocol: str, start_receiver: Callable[..., Receiver]) -> Receiver:
    """A receiver of the protocol."""
    return start_receiver(GrpcReceiver if protocol == "grpc" else HttpReceiver)


Make = Callable[..., Any]


@pytest.fixture
def make(home: Path) -> Iterator[Make]:
    """Build exporters with some options, as a shipper does."""
    made: list[Any] = []

    def build(environment: dict[str, str] | None = None, **options: Any) -> Any:
        context = ExporterContext(
            home=home,
            log_path=home / "vault" / "jobs.db",
            options=options,
            environment=environment or {},
        )
        made.append(load_exporter("otlp", context))
        return made[-1]

    yield build
    for each in made:
        each.shutdown()


@pytest.fixture
def exporter(make: Make, receiver: Receiver, protocol: str) -> Any:
    """An exporter to the receiver."""
    return make(endpoint=receiver.endpoint, protocol=protocol, timeout_s=5)


@pytest.fixture
def lab(home: Path) -> Iterator[Callable[..., Lab]]:
    """Make a pipeline; its shipper is stopped at the end."""
    made: list[Lab] = []

    def make_lab(**options: Any) -> Lab:
        made.append(Lab(home, **options))
        return made[-1]

    yield make_lab
    for each in made:
        each.stop()


class Authority(NamedTuple):
    """Who signs: a file with its certificate, and those of a server and of a client."""

    file: str
    server: Any
    client: str

    def http(self, *, ask: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.configure_cert(context)
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def grpc(self, *, ask: bool = False) -> Any:
        key = self.server.private_key_pem.bytes()
        chain = b"".join(pem.bytes() for pem in self.server.cert_chain_pems)
        root = Path(self.file).read_bytes() if ask else None
        return grpc.ssl_server_credentials([(key, chain)], root, ask)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority that nobody else trusts."""
    root = trustme.CA()
    root.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = root.issue_cert("client@lab.test")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    return Authority(
        str(tmp_path / "ca.pem"), root.issue_cert("127.0.0.1"), str(tmp_path / "client.pem")
    )


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds."""
    return wait_until


@pytest.fixture
def sink(start_receiver: Callable[..., HttpReceiver]) -> HttpReceiver:
    """Where rotel forwards to."""
    return start_receiver(HttpReceiver)


@pytest.fixture
def collector(tmp_path: Path, sink: HttpReceiver) -> Iterator[Rotel]:
    """rotel, running."""
    running = Rotel(tmp_path, sink.endpoint)
    running.start()
    yield running
    running.stop()

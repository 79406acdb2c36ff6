"""Real receivers: ours over HTTP and gRPC, which can be told to misbehave, and rotel."""

import contextlib
import gzip
import os
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import rotel
import trustme
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from realm_telemetry.log.reader import LogReader
from realm_telemetry.log.rows import LogRow
from realm_telemetry.pipeline.manifest import Manifest, write_manifest
from realm_telemetry.plugins import ExporterContext, load_exporter
from realm_telemetry.shipper.overview import PipelineStatus, pipeline_status
from realm_telemetry.shipper.shipper import Shipper
from realm_telemetry.spool.frames import encode_msgpack
from realm_telemetry.spool.writer import SpoolWriter

ROTEL = Path(rotel.__file__).parent / "rotel-agent"
PROTOCOLS = ("http/protobuf", "grpc")


def plain(value: AnyValue) -> Any:
    """An AnyValue as the JSON value that it stands for."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [plain(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, which)


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes as a dict; one that is there twice is a defect."""
    found: dict[str, Any] = {}
    pair: KeyValue
    for pair in pairs:
        assert pair.key not in found, f"{pair.key} is there twice"
        found[pair.key] = plain(pair.value)
    return found


class Arrived(NamedTuple):
    """A log record and what it came with."""

    record: LogRecord
    resource: dict[str, Any]
    scope: str

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes(self.record.attributes)

    @property
    def uid(self) -> str:
        return str(self.attributes["log.record.uid"])


class Told(NamedTuple):
    """How to answer the next request: over HTTP by status, over gRPC by code."""

    status: int = 200
    code: grpc.StatusCode = grpc.StatusCode.OK
    headers: tuple[tuple[str, Any], ...] = ()
    body: bytes = b""
    content_type: str = "application/x-protobuf"
    words: str = ""
    rejected: int = 0
    hang_s: float = 0.0
    drip_s: float = 0.0


class Receiver:
    """What came, and how to answer: `script` first, then well.

    max_bytes: larger requests are refused for their size. reject: records refused for good, by
    their uid: any request with one of them is called invalid.
    """

    def __init__(self) -> None:
        self.script: deque[Told] = deque()
        self.max_bytes: int | None = None
        self.invalid: set[str] = set()
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.requests: list[ExportLogsServiceRequest] = []
        self.refused = 0
        self.ended = threading.Event()
        self.endpoint = ""
        self._lock = threading.Lock()

    @property
    def arrived(self) -> list[Arrived]:
        with self._lock:
            requests = list(self.requests)
        return [
            Arrived(record, attributes(group.resource.attributes), scope.scope.name)
            for request in requests
            for group in request.resource_logs
            for scope in group.scope_logs
            for record in scope.log_records
        ]

    def count(self) -> int:
        """Records, as often as they came; quick."""
        with self._lock:
            requests = list(self.requests)
        return sum(
            len(scope.log_records)
            for request in requests
            for group in request.resource_logs
            for scope in group.scope_logs
        )

    def uids(self) -> list[str]:
        """Each record once, in the order of arrival."""
        return list(dict.fromkeys(each.uid for each in self.arrived))

    def take(
        self, request: ExportLogsServiceRequest, headers: dict[str, str], path: str, size: int
    ) -> Told:
        """Note a request and return how to answer; only what is answered well is kept."""
        with self._lock:
            self.headers.append(headers)
            self.paths.append(path)
            told = self.script.popleft() if self.script else self._judge(request, size)
            if told.hang_s:
                self.ended.wait(told.hang_s)
            if told.status == 200 and told.code is grpc.StatusCode.OK:
                self.requests.append(request)
            else:
                self.refused += 1
            return told

    def _judge(self, request: ExportLogsServiceRequest, size: int) -> Told:
        if self.max_bytes is not None and size > self.max_bytes:
            return Told(413, grpc.StatusCode.RESOURCE_EXHAUSTED, words="message too large")
        for group in request.resource_logs:
            for scope in group.scope_logs:
                for record in scope.log_records:
                    if attributes(record.attributes).get("log.record.uid") in self.invalid:
                        return Told(400, grpc.StatusCode.INVALID_ARGUMENT, words="invalid record")
        return Told()


def answer(told: Told) -> bytes:
    response = ExportLogsServiceResponse()
    if told.rejected or told.words:
        response.partial_success.rejected_log_records = told.rejected
        response.partial_success.error_message = told.words
    return response.SerializeToString()


class HttpReceiver(Receiver):
    """OTLP/HTTP; tls: the server's side of a context."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                encoding = self.headers.get("content-encoding")
                if encoding:
                    body = {"gzip": gzip.decompress, "deflate": zlib.decompress}[encoding](body)
                request = ExportLogsServiceRequest.FromString(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                told = owner.take(request, headers, self.path, len(body))
                text = told.body or (answer(told) if told.status == 200 else told.words.encode())
                self.send_response(told.status)
                kind = told.content_type if told.status == 200 else "text/plain"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text) or (9 if told.drip_s else 0)))
                for name, value in told.headers:
                    self.send_header(name, value)
                self.end_headers()
                if told.drip_s:
                    for _ in range(9):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        owner.ended.wait(told.drip_s)
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GrpcReceiver(Receiver):
    """OTLP/gRPC."""

    def __init__(self, credentials: Any = None) -> None:
        super().__init__()
        self._server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=ExportLogsServiceRequest.FromString,
            response_serializer=bytes,
        )
        service = "opentelemetry.proto.collector.logs.v1.LogsService"
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {"Export": handler})]
        )
        if credentials:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.endpoint = f"{'https' if credentials else 'http'}://127.0.0.1:{self.port}"
        self._server.start()

    def _export(self, request: ExportLogsServiceRequest, context: Any) -> bytes:
        headers = {each.key: each.value for each in context.invocation_metadata()}
        told = self.take(request, headers, "", request.ByteSize())
        if told.code is not grpc.StatusCode.OK:
            context.set_trailing_metadata(told.headers)
            context.abort(told.code, told.words)
        return answer(told)

    def stop(self) -> None:
        self.ended.set()
        self._server.stop(0).wait()


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


class Wire:
    """A TCP proxy that counts what the client sends."""

    def __init__(self, to_port: int) -> None:
        self.sent = 0
        self._to_port = to_port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets = [self._server]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._server.accept()[0]
            except OSError:  # stopped
                return
            far = socket.create_connection(("127.0.0.1", self._to_port))
            self._sockets += [near, far]
            for one, other, counted in ((near, far, True), (far, near, False)):
                thread = threading.Thread(target=self._copy, args=(one, other, counted))
                self._threads.append(thread)
                thread.start()

    def _copy(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        try:
            while data := one.recv(65_536):
                self.sent += len(data) if counted else 0
                other.sendall(data)
        except OSError:
            return

    def stop(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)


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


class Lab:
    """A pipeline with the exporters battle_log and otlp, and a producer's spool in it."""

    def __init__(
        self,
        home: Path,
        producer: str = "ab" * 8,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.home = home
        self.log_path = home / "vault" / "jobs.db"
        manifest = Manifest(
            version="1",
            python="",
            home=str(home),
            log_path=str(self.log_path),
            search_path=str(home / "vault" / "search.db"),
            service_url="http://127.0.0.1:1",
            exporters=["battle_log", "otlp"],
            options={"otlp": options},
            environment=environment or {},
        )
        self.pipeline_dir = write_manifest(home / "spool", manifest)
        self.writer = SpoolWriter(self.pipeline_dir, producer)
        resource = {"service.name": "trainer", "process.pid": 4242}
        self.writer.append_control({"type": "hello", "forked": False, "resource": resource})
        self._shipper: Shipper | None = None
        self._thread: threading.Thread | None = None

    def emit(self, count: int, **details: Any) -> None:
        for step in range(count):
            fields = (time.time_ns(), "training_step", "training", "info", "hello")
            self.writer.append(encode_msgpack((*fields, {"step": step, **details})))

    def end(self) -> None:
        """End the producer, in order."""
        self.writer.append_control({"type": "goodbye", "emitted": self.writer.last_number})
        self.writer.close()

    def start(self) -> None:
        """Let a shipper work."""
        self._shipper = Shipper(self.pipeline_dir, grace_s=0.0)
        self._thread = threading.Thread(target=self._shipper.run)
        self._thread.start()

    def stop(self) -> None:
        if self._shipper is not None and self._thread is not None:
            self._shipper.stop()
            self._thread.join(20)
            assert not self._thread.is_alive()
        self.writer.close()

    def status(self) -> PipelineStatus:
        (found,) = pipeline_status(self.home)
        return found

    def rows(self) -> list[LogRow]:
        with LogReader(self.log_path) as reader:
            return reader.after(0, 1_000_000)


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Rotel:
    """rotel at work: it takes OTLP over HTTP and gRPC, and forwards it to a receiver of ours."""

    def __init__(self, directory: Path, to: str) -> None:
        self.grpc_port, self.http_port = free_port(), free_port()
        self._command = [
            str(ROTEL), "start",
            "--otlp-grpc-endpoint", f"127.0.0.1:{self.grpc_port}",
            "--otlp-http-endpoint", f"127.0.0.1:{self.http_port}",
            "--exporter", "otlp", "--otlp-exporter-protocol", "http",
            "--otlp-exporter-endpoint", to, "--batch-timeout", "50ms",
        ]  # fmt: skip
        self._output = (directory / "rotel.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def endpoint(self, protocol: str) -> str:
        return f"http://127.0.0.1:{self.grpc_port if protocol == 'grpc' else self.http_port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, stdout=self._output, stderr=subprocess.STDOUT
        )
        wait_until(lambda: all(map(listens, (self.grpc_port, self.http_port))))

    def kill(self) -> None:
        """SIGKILL: what it holds in memory is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> None:
        self.kill()
        self._output.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fails after thirty seconds."""
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

"""Receivers of ours over HTTP and gRPC, which misbehave on demand."""

import gzip
import ssl
import threading
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord


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


class Answer(NamedTuple):
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
        self.script: deque[Answer] = deque()
        self.max_bytes: int | None = None
        self.invalid: set[str] = set()
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.requests: list[ExportLogsServiceRequest] = []
        self.refused = 0
        self.ended = threading.Event()
        self.endpoint = ""
        self.port = 0
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
    ) -> Answer:
        """Note a request and return how to answer; only what is answered well is kept."""
        with self._lock:
            self.headers.append(headers)
            self.paths.append(path)
            planned = self.script.popleft() if self.script else self._judge(request, size)
            if planned.hang_s:
                self.ended.wait(planned.hang_s)
            if planned.status == 200 and planned.code is grpc.StatusCode.OK:
                self.requests.append(request)
            else:
                self.refused += 1
            return planned

    def _judge(self, request: ExportLogsServiceRequest, size: int) -> Answer:
        if self.max_bytes is not None and size > self.max_bytes:
            return Answer(413, grpc.StatusCode.RESOURCE_EXHAUSTED, words="message too large")
        for group in request.resource_logs:
            for scope in group.scope_logs:
                for record in scope.log_records:
                    if attributes(record.attributes).get("log.record.uid") in self.invalid:
                        return Answer(400, grpc.StatusCode.INVALID_ARGUMENT, words="invalid record")
        return Answer()


def answer(planned: Answer) -> bytes:
    response = ExportLogsServiceResponse()
    if planned.rejected or planned.words:
        response.partial_success.rejected_log_records = planned.rejected
        response.partial_success.error_message = planned.words
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
                    body = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body)
                request = ExportLogsServiceRequest.FromString(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                planned = owner.take(request, headers, self.path, len(body))
                text = planned.body or (
                    answer(planned) if planned.status == 200 else planned.words.encode()
                )
                self.send_response(planned.status)
                in_full = planned.status == 200 or planned.body
                kind = planned.content_type if in_full else "text/plain"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text) or (9 if planned.drip_s else 0)))
                for name, value in planned.headers:
                    self.send_header(name, value)
                self.end_headers()
                if planned.drip_s:
                    for _ in range(9):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        owner.ended.wait(planned.drip_s)
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
        planned = self.take(request, headers, "", request.ByteSize())
        if planned.code is not grpc.StatusCode.OK:
            context.set_trailing_metadata(planned.headers)
            context.abort(planned.code, planned.words)
        return answer(planned)

    def stop(self) -> None:
        self.ended.set()
        self._server.stop(0).wait()

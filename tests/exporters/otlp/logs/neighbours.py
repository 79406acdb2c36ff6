"""What stands around a receiver: ports, a counting proxy, and rotel."""

import contextlib
import socket
import subprocess
import threading
from pathlib import Path

import rotel

from tests.ports import free_port
from tests.waiting import wait_until

ROTEL = Path(rotel.__file__).parent / "rotel-agent"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
            self.process.wait(60)
            self.process = None

    def stop(self) -> None:
        self.kill()
        self._output.close()

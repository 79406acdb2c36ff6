"""A producer that writes down the id of every event whose `emit` returned, then ends somehow.

Arguments: home, file of acknowledged ids, way to end, number of events a thread, seed.
The file is written with one system call an id, so that it survives a kill as the spool must.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

import realm_telemetry as realm

HOME, ACKNOWLEDGED, WAY, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
EXPORTERS = ["battle_log"]
PAUSE_EVERY = 50


def emit_and_write_down(name: str, count: int) -> None:
    """Emit, then write down; a kill between the two costs nothing acknowledged."""
    file = os.open(ACKNOWLEDGED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for index in range(count):
        event = realm.emit("note", f"{name} {index}", text="x" * (index % 300), index=index)
        os.write(file, f"{event.id}\n".encode())
        if index % PAUSE_EVERY == PAUSE_EVERY - 1:
            time.sleep(0.002)  # or a hundred killed producers outrun one shipper
    os.close(file)


def two_threads() -> None:
    thread = threading.Thread(target=emit_and_write_down, args=("second", COUNT))
    thread.start()
    emit_and_write_down("first", COUNT)
    thread.join()


def in_children(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    children = [
        context.Process(target=emit_and_write_down, args=(f"{method}{i}", COUNT)) for i in (1, 2)
    ]
    for child in children:
        child.start()
    emit_and_write_down("parent", COUNT)
    for child in children:
        child.join()
        assert child.exitcode == 0, child.exitcode


def bare_fork() -> None:
    emit_and_write_down("before", COUNT)
    child = os.fork()
    emit_and_write_down("child" if child == 0 else "parent", COUNT)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def exec_child() -> None:
    """A program started by a producer emits without a `configure` of its own."""
    code = (
        "import os, sys, realm_telemetry as realm\n"
        "file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n"
        "for i in range(int(sys.argv[2])):\n"
        "    os.write(file, (realm.emit('note', f'grandchild {i}').id + chr(10)).encode())\n"
    )
    emit_and_write_down("parent", COUNT)
    os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code, ACKNOWLEDGED, str(COUNT)])


def end() -> None:
    if WAY == "exit":
        return
    if WAY == "os_exit":
        os._exit(3)
    if WAY == "exception":
        raise RuntimeError("unhandled, on purpose")
    if WAY in ("SIGTERM", "SIGSEGV", "SIGKILL"):
        os.kill(os.getpid(), getattr(signal, WAY))
        time.sleep(10)


def main() -> None:
    realm.configure(service_name="crash", home=HOME, exporters=EXPORTERS, max_spool_bytes=4 << 30)
    if WAY in ("fork", "spawn", "forkserver"):
        in_children(WAY)
    elif WAY == "bare_fork":
        bare_fork()
    elif WAY == "exec":
        exec_child()
    else:
        two_threads()
        end()


if __name__ == "__main__":
    main()

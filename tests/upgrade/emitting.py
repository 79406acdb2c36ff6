"""A producer that obeys: a JSON command a line on stdin, an answer a line on stdout.

Argument: the settings for `configure` as JSON. `objects` among them puts an exporter and a
processor in that are objects of this program, as only a shipper in a thread can have.
"""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import realm_telemetry as realm


class Written:
    """An exporter of OpenTelemetry's kind: appends the body of each record to a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def export(self, batch: Sequence[Any]) -> Any:
        from opentelemetry.sdk._logs.export import LogRecordExportResult

        with self._path.open("a") as file:
            file.writelines(f"{each.log_record.body}\n" for each in batch)
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is held."""


def emit(count: int, first: int = 0, **details: Any) -> dict[str, Any]:
    """Emit notes whose messages carry numbers; their ids."""
    marks = [f"#{number:05d}#" for number in range(first, first + count)]
    events = [realm.emit("note", f"Note {mark}", mark=mark, **details) for mark in marks]
    return {"ids": [event.id for event in events]}


def flush(timeout_s: float) -> dict[str, Any]:
    """Flush; whether all was delivered, and why not."""
    return {"delivered": realm.flush(timeout_s), "problem": realm.flush_problem()}


def replay(to: str) -> dict[str, Any]:
    """Replay the log to a service; how many events it got."""
    return {"events": realm.replay_events(to=to, home=os.environ["REALM_HOME"]).events}


def take(module: str, names: Sequence[str]) -> dict[str, Any]:
    """Import names from a module; the missing ones."""
    found = importlib.import_module(module)
    return {"missing": [name for name in names if not hasattr(found, name)]}


def child(count: int) -> dict[str, Any]:
    """Fork a child that emits and flushes; its ids, and whether all was delivered."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        done = emit(count) | flush(20)
        realm.shutdown()
        os.write(writer, json.dumps(done).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer: dict[str, Any] = json.load(file)
    os.waitpid(pid, 0)
    return answer


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "emit": emit,
    "flush": flush,
    "replay": replay,
    "take": take,
    "child": child,
}


def carry_out(command: dict[str, Any]) -> dict[str, Any]:
    """Carry a command out; a traceback is an answer too."""
    try:
        return COMMANDS[command.pop("do")](**command)
    except Exception:
        return {"failed": traceback.format_exc()}


def main() -> None:
    settings = json.loads(sys.argv[1])
    os.environ["REALM_HOME"] = settings["home"]
    if path := settings.pop("objects", None):
        settings["exporters"] = [*settings["exporters"], Written(path)]
    telemetry = realm.configure(service_name="upgraded", **settings)
    assert telemetry is not None
    hello = {"pipeline_dir": str(telemetry.pipeline_dir), "package": str(Path(realm.__file__))}
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

"""One delivery from a spool to three receivers and a file, with planned faults and kills."""

import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from .processes import Producer, kill_shipper, rows
from .receivers import Plan, Receiver
from .trees import Tree

EXPORTERS: Final = ("battle_log", "jsonl", "realm_service", "otlp", "webhook")
_FAULTS: Final = (
    ("503", "reset"),
    ("hang",),
    # More often than a batch is halved: if it were taken for final, one would be a dead letter.
    ("429 0",) * 8,
    ("503 0",) * 8,
)
_MARK: Final = re.compile(r"#(\d{5})#")
_PATHS: Final = {"realm_service": "/api/v1/events", "otlp": "/v1/logs", "webhook": "/hook"}


class Outcome(NamedTuple):
    """What came of a delivery, with event numbers for ids, which are new in each run.

    logged: in the order of the log. written: lines of the file. taken: by exporter, every event
    that was taken at least once. message_ids: how many each webhook message has.
    cursors: by exporter, the event at which it stands. dead: exporters and events they gave up.
    refused: by exporter, how many the receiver refused without naming them.
    settled: of webhook messages by their state. flushed: whether a flush was True.
    """

    logged: list[int]
    written: list[int]
    taken: dict[str, list[int]]
    message_ids: list[int]
    cursors: dict[str, int]
    dead: list[tuple[str, int]]
    refused: dict[str, int]
    settled: dict[str, int]
    flushed: bool


def plans(seed: int, events: int, *, each: int, kills: int) -> dict[str, Plan]:
    """Draw a plan for each exporter.

    each: how many events get each fault. kills: how many requests kill the shipper.
    Two events are poison, but for OTLP without kills: of two of its events the receiver says that
    it refused so many. A refusal of all that a request holds would be one of each, and a kill
    repeats refusals.
    """
    drawn = {name: _plan(random.Random(f"{seed} {name}"), events, each, kills) for name in _PATHS}
    # Messages go one by one, each with pauses of its own, and a final answer ends one at once.
    last = {number: faults[-1:] for number, faults in drawn["webhook"].faults.items()}
    drawn["webhook"] = drawn["webhook"]._replace(faults=last)
    if not kills:
        otlp = drawn["otlp"]
        drawn["otlp"] = otlp._replace(poison=frozenset(), refused=otlp.poison)
    return drawn


def _plan(chance: random.Random, events: int, each: int, kills: int) -> Plan:
    numbers = chance.sample(range(events), len(_FAULTS) * each + kills + 2)
    poison = frozenset({numbers.pop(), numbers.pop()})
    # In the order in which a batch meets them: those that name no pause first, for pauses grow
    # with every failure in a row.
    planned = sorted(_FAULTS * each, key=_FAULTS.index) + [("kill",)] * kills
    return Plan(dict(zip(sorted(numbers), planned, strict=True)), poison)


class Lab:
    """A home with a producer that stays, its receivers, and a shipper that is always restarted."""

    def __init__(self, tree: Tree, home: Path, chosen: Mapping[str, Plan], events: int) -> None:
        home.mkdir(mode=0o700)
        self._tree, self._home, self._events = tree, home, events
        self.receivers = {name: Receiver(plan, self._kill) for name, plan in chosen.items()}
        urls = {name: receiver.url for name, receiver in self.receivers.items()}
        self._exporters = [name for name in EXPORTERS if name in ("battle_log", "jsonl", *chosen)]
        self.producer = Producer(
            tree,
            home,
            shipper="none",
            exporters=self._exporters,
            service_url=urls.get("realm_service"),
            options=self._options(urls),
        )
        self._ending = threading.Event()
        self._shipping = threading.Thread(target=self._ship)

    def __enter__(self) -> Self:
        self.producer.emit(self._events)
        self._shipping.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._kill()
        self._shipping.join()
        self.producer.end()
        for receiver in self.receivers.values():
            receiver.close()

    def _options(self, urls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        chosen: dict[str, dict[str, Any]] = {
            "realm_service": {"timeout_s": 1.0},
            "otlp": {"endpoint": urls.get("otlp", ""), "timeout_s": 1.0},
        }
        if "webhook" in self.receivers:
            chosen["webhook"] = self.receivers["webhook"].webhook_options()
        return {name: options for name, options in chosen.items() if name in self._exporters}

    def _ship(self) -> None:
        command = ["-P", "-m", "realm_telemetry.shipper", "--pipeline"]
        while not self._ending.is_set():
            subprocess.run(
                [sys.executable, *command, str(self.producer.pipeline_dir)],
                env=self._tree.environment(),
                cwd="/",
                stderr=subprocess.DEVNULL,
                check=False,
            )

    def _kill(self) -> None:
        kill_shipper(self.producer.pipeline_dir)

    def kill_at_random(self, seed: int, kills: int) -> None:
        """Kill the shipper at moments that the seed draws."""
        chance = random.Random(seed)
        for _ in range(kills):
            time.sleep(chance.uniform(0.3, 1.5))
            self._kill()

    def outcome(self, timeout_s: float) -> Outcome:
        """Wait until every cursor is at the end, and gather what came of it."""
        deadline = time.monotonic() + timeout_s
        while set(self._cursors().values()) != {self._events - 1} or not self._settled():
            assert time.monotonic() < deadline, (self._cursors(), self._answers())
            time.sleep(0.05)
        flushed = self.producer.ask("flush", timeout_s=10)["delivered"]
        return Outcome(
            logged=self._numbers("SELECT message FROM battle_log WHERE kind = 'note' ORDER BY id"),
            written=[int(_MARK.findall(line)[0]) for line in self._written().splitlines()],
            taken={
                name: sorted(receiver.taken[_PATHS[name]])
                for name, receiver in self.receivers.items()
            },
            message_ids=self._message_ids(),
            cursors=self._cursors(),
            dead=self._dead(),
            refused=self._refused(),
            settled=self._messages(),
            flushed=flushed,
        )

    def _settled(self) -> bool:
        waiting = self._messages().get("pending")
        return len(self._cursors()) == len(self._exporters) and not waiting

    def _answers(self) -> dict[str, list[str]]:
        return {name: receiver.answers[-10:] for name, receiver in self.receivers.items()}

    def _log(self, query: str) -> list[tuple[Any, ...]]:
        return rows(self._home / "vault" / "jobs.db", query)

    def _numbers(self, query: str) -> list[int]:
        return [int(_MARK.findall(message)[0]) for (message,) in self._log(query)]

    def _written(self) -> str:
        return (self._home / "status" / "events.jsonl").read_text()

    def _message_ids(self) -> list[int]:
        if "webhook" not in self.receivers:
            return []
        numbers = [n for each in self.receivers["webhook"].messages() for n in each.numbers]
        return sorted(numbers)

    def _cursors(self) -> dict[str, int]:
        query = (
            "SELECT exporter, message FROM realm_cursors JOIN battle_log ON id = cursor"
            " ORDER BY exporter"
        )
        return {name: int(_MARK.findall(message)[0]) for name, message in self._log(query)}

    def _dead(self) -> list[tuple[str, int]]:
        query = (
            "SELECT DISTINCT exporter, message FROM realm_dead_letters AS dead"
            " JOIN battle_log AS log ON log.event_id = dead.event_id"
        )
        found = [(name, int(_MARK.findall(message)[0])) for name, message in self._log(query)]
        return sorted(found)

    def _refused(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for key, text in self._log("SELECT key, value FROM realm_meta WHERE key LIKE 'refused/%'"):
            found[str(key).split("/")[-1]] = json.loads(text)[0]
        return found

    def _messages(self) -> dict[str, int]:
        query = "SELECT state, count(*) FROM messages GROUP BY state ORDER BY state"
        return dict(rows(self._home / "data" / "webhooks.db", query))

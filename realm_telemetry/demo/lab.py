"""The lab: a service, a trainer and two workers, each a process, campaign after campaign.

In every campaign one worker is killed in the middle of a job. The lab reads the live view itself.
"""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from realm_telemetry.client import EventMessage, RealmClient, ServiceError
from realm_telemetry.config import Settings
from realm_telemetry.demo.campaign import WORKERS, Campaign, Plan, forget_old
from realm_telemetry.demo.children import Child, environment
from realm_telemetry.demo.display import Display
from realm_telemetry.demo.jobs import SKILLS
from realm_telemetry.demo.service import DemoService
from realm_telemetry.demo.verdict import Verdict, judge, summary
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event

AFTER_RESULTS: Final = 3


class Incident:
    """Kills one worker with SIGKILL, once, when it is half-way through a job.

    So its last events have to survive in its spool, somebody has to notice that it is gone, and
    the other worker has to do its job.
    """

    def __init__(
        self,
        campaign: Campaign,
        workers: Mapping[str, Child],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = campaign.queue
        self._half_s = campaign.plan.seconds_per_skill * SKILLS / 2
        self._workers = workers
        self._clock = clock
        self._claimed_at_s: dict[Path, float] = {}
        self.victim: str | None = None

    def step(self) -> None:
        """Look at the claims; to be called often."""
        if self.victim is not None or len(self._queue.results()) < AFTER_RESULTS:
            return
        now_s = self._clock()
        for worker_id, paths in self._queue.claims().items():
            for path in paths:
                if now_s - self._claimed_at_s.setdefault(path, now_s) >= self._half_s:
                    self._kill(worker_id)
                    return

    def _kill(self, worker_id: str) -> None:
        self.victim = worker_id
        self._workers[worker_id].kill()


_RETRY_S: Final = 0.5


class Watcher:
    """Follows the stream in a thread, shows the events of one campaign and remembers their ids.

    Resumes where it was when the connection breaks, so that no event is missed or seen twice.
    """

    def __init__(self, client: RealmClient, display: Display) -> None:
        self._client = client
        self._display = display
        self._campaign = ""
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the stream has begun; what is emitted from then on will come over it."""
        return self._connected.is_set()

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def watch(self, campaign: str) -> None:
        """Turn to a campaign that is about to begin."""
        with self._lock:
            self._campaign = campaign
            self._seen = Counter()

    def seen(self) -> Counter[str]:
        """Return how often each event id of the campaign has come."""
        with self._lock:
            return Counter(self._seen)

    def end(self) -> None:
        """Stop as soon as the stream says something more, or ends with its service."""
        self._ended.set()

    def _follow(self) -> None:
        last_event_id: str | None = None
        while not self._ended.is_set():
            try:
                for message in self._client.stream(last_event_id=last_event_id, reconnect=False):
                    last_event_id = message.last_event_id
                    self._connected.set()
                    if self._ended.is_set():
                        return
                    if isinstance(message, EventMessage):
                        self._take(message.event)
            except (ServiceError, RuntimeError):  # the service, or the client, was closed
                pass
            self._ended.wait(_RETRY_S)

    def _take(self, event: Event) -> None:
        with self._lock:
            if event.campaign_id != self._campaign:
                return
            self._seen[event.id] += 1
        self._display.show(event)


STREAM_S: Final = 5.0
CHILDREN_END_S: Final = 1.6
SETTLE_S: Final = 10.0
PAUSE_S: Final = 3.0
"""Between two campaigns."""

_POLL_S: Final = 0.02
_SETTLE_POLL_S: Final = 0.2
_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Lab:
    """Runs campaigns against a service and judges them.

    stopping: set when a person wants the end; everything returns soon after.
    """

    def __init__(
        self,
        settings: Settings,
        service: DemoService,
        plan: Plan,
        display: Display,
        stopping: threading.Event,
    ) -> None:
        self._home = settings.home
        self._service = service
        self._plan = plan
        self._display = display
        self._stopping = stopping
        self._watcher = Watcher(service.client(), display)

    def run(self, *, once: bool) -> bool:
        """Run one campaign, or one after the other until stopped.

        Returns whether everything held in all that came to their end.
        Raises ConfigError if the service's stream cannot be read.
        """
        self._watcher.start()
        good = True
        try:
            self._await_stream()
            with self._service.client() as client:
                while not self._stopping.is_set():
                    good = self._campaign(client) and good
                    if once:
                        break
                    self._stopping.wait(PAUSE_S)
        finally:
            self._watcher.end()
        return good

    def _await_stream(self) -> None:
        deadline_s = time.monotonic() + STREAM_S
        while not self._watcher.connected and not self._stopping.wait(_POLL_S):
            if time.monotonic() > deadline_s:
                raise ConfigError(
                    "service", f"no stream comes from {self._service.url}", "Run `realm doctor`."
                )

    def _campaign(self, client: RealmClient) -> bool:
        campaign = Campaign.begin(self._home / "lab", self._plan)
        forget_old(self._home / "lab")
        self._watcher.watch(campaign.name)
        with self._children(campaign) as children:
            self._attend(campaign, children)
            problems = [child.problem for child in children.values() if child.problem]
        self._display.end_progress()
        if self._stopping.is_set():
            return True
        verdict = self._verdict(client, campaign.name, 0.0 if problems else SETTLE_S)
        verdict = verdict._replace(problems=problems + verdict.problems)
        self._display.say("\n" + "\n".join(summary(campaign.name, verdict)) + "\n")
        return not verdict.problems

    @contextmanager
    def _children(self, campaign: Campaign) -> Iterator[dict[str, Child]]:
        """Start trainer and workers; at the end none of them runs."""
        children: dict[str, Child] = {}
        try:
            children["trainer"] = self._start(campaign, "trainer")
            for worker_id in WORKERS:
                children[worker_id] = self._start(campaign, "worker", worker_id)
            yield children
        finally:
            for child in children.values():
                child.let_go()
            deadline_s = time.monotonic() + CHILDREN_END_S
            for child in children.values():
                child.end_by(deadline_s)

    def _start(self, campaign: Campaign, module: str, *arguments: str) -> Child:
        name = arguments[0] if arguments else module
        return Child(
            name,
            f"{__package__}.{module}",
            [str(campaign.directory), *arguments],
            environment=environment(self._home, self._service.url),
            log_file=campaign.directory / "logs" / f"{name}.log",
        )

    def _attend(self, campaign: Campaign, children: dict[str, Child]) -> None:
        """Wait for the end of all children, or for the failure of one, with an incident."""
        workers = {worker_id: children[worker_id] for worker_id in WORKERS}
        incident = Incident(campaign, workers)
        while any(child.running for child in children.values()):
            incident.step()
            # A worker waits for the trainer and the trainer for a worker; alone, for ever.
            failed = any(child.problem for child in children.values())
            if self._stopping.wait(_POLL_S) or failed:
                return

    def _verdict(self, client: RealmClient, campaign: str, settle_s: float) -> Verdict:
        """Judge again until all is well; what is still on its way gets some seconds."""
        deadline_s = time.monotonic() + settle_s
        while True:
            try:
                verdict = judge(client, campaign, self._watcher.seen())
            except ServiceError as error:
                verdict = Verdict([], 0, None, [f"the service does not answer: {error}"])
            late = time.monotonic() > deadline_s or self._stopping.is_set()
            if late or not verdict.problems:
                return verdict
            self._stopping.wait(_SETTLE_POLL_S)


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C, SIGTERM and a closed terminal set, in place of what they do."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = {
        number: signal.signal(number, lambda *_: stopping.set()) for number in _ENDING_SIGNALS
    }
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

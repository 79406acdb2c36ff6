"""The lab: a service, a trainer and two workers, each a process, campaign after campaign."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from realm_telemetry.client import RealmClient, ServiceError
from realm_telemetry.config import Settings
from realm_telemetry.demo.campaign import WORKERS, Campaign, Plan, forget_old
from realm_telemetry.demo.children import Child, environment
from realm_telemetry.demo.display import Display
from realm_telemetry.demo.incident import Incident
from realm_telemetry.demo.service import DemoService
from realm_telemetry.demo.summary import summary
from realm_telemetry.demo.verdict import Verdict, judge
from realm_telemetry.demo.watcher import Watcher
from realm_telemetry.errors import ConfigError

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

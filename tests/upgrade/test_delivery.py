"""Old and new code deliver the same events through the same faults, and stand at the same place."""

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.waiting import wait_until

from .delivery import Lab, Outcome, plans
from .internals import DURABLE_PROCESSOR
from .processes import Service, logged, rows
from .receivers import Plan, Receiver
from .trees import Tree

EVENTS: Final = 40
MANY_EVENTS: Final = 1500


def delivered(
    tree: Tree,
    home: Path,
    chosen: Mapping[str, Plan],
    events: int,
    *,
    kills: int,
    seed: int,
    timeout_s: int = 100,
) -> Outcome:
    """Deliver with one tree, and kill its shipper at moments of the seed; what came of it."""
    with Lab(tree, home, chosen, events) as lab:
        lab.kill_at_random(seed, kills)
        return lab.outcome(timeout_s)


def both(
    old: Tree, new: Tree, directory: Path, chosen: Mapping[str, Plan], events: int, **how: int
) -> tuple[Outcome, Outcome]:
    """Deliver with both trees at once."""
    with ThreadPoolExecutor(2) as pool:
        begun = [
            pool.submit(delivered, tree, directory / name, chosen, events, **how)
            for name, tree in (("old", old), ("new", new))
        ]
        before, after = (each.result() for each in begun)
    return before, after


def check(outcome: Outcome, chosen: Mapping[str, Plan], events: int) -> None:
    """Nothing is lost, and what no receiver takes is a dead letter: of both codes the same."""
    everything = list(range(events))
    assert outcome.logged == everything
    assert outcome.written == everything
    for name, plan in chosen.items():
        assert outcome.taken[name] == sorted(set(everything) - plan.poison), name
        assert outcome.cursors[name] == events - 1
    in_log = {name: plan for name, plan in chosen.items() if name != "webhook"}
    assert outcome.dead == sorted((name, n) for name, plan in in_log.items() for n in plan.poison)
    assert outcome.flushed == (not outcome.dead), "a flush is not True of what was given up"


def test_both_deliver_the_same_through_every_answer_of_a_receiver(
    old_tree: Tree, new_tree: Tree, tmp_path: Path
) -> None:
    """Without kills everything is exact: also what was refused, and the number of messages."""
    chosen = plans(60, EVENTS, each=1, kills=0)
    before, after = both(old_tree, new_tree, tmp_path, chosen, EVENTS, kills=0, seed=0)
    check(before, chosen, EVENTS)
    assert after == before
    assert before.refused == {"otlp": 2}, "the receiver has rejected two"
    good = sorted(set(range(EVENTS)) - chosen["webhook"].poison)
    assert before.message_ids == good, "each event has one message, with one id"
    assert before.settled == {"dead": 2, "delivered": EVENTS - 2}


def without_webhooks(chosen: dict[str, Plan]) -> dict[str, Plan]:
    """Leave webhooks out: one in flight at a kill waits 30 s, until its lease has ended."""
    return {name: plan for name, plan in chosen.items() if name != "webhook"}


def test_both_deliver_the_same_though_their_shipper_is_killed(
    old_tree: Tree, new_tree: Tree, tmp_path: Path
) -> None:
    """Requests are taken and not answered, cursors not saved, and the shipper is killed."""
    chosen = without_webhooks(plans(70, EVENTS, each=0, kills=2))
    before, after = both(old_tree, new_tree, tmp_path, chosen, EVENTS, kills=2, seed=1)
    check(before, chosen, EVENTS)
    assert after == before


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_deliver_the_same_through_many_faults_and_kills(
    old_tree: Tree, new_tree: Tree, tmp_path: Path, seed: int
) -> None:
    chosen = without_webhooks(plans(seed, MANY_EVENTS, each=3, kills=5))
    before, after = both(
        old_tree, new_tree, tmp_path, chosen, MANY_EVENTS, kills=15, seed=seed, timeout_s=600
    )
    check(before, chosen, MANY_EVENTS)
    assert after == before


@pytest.mark.long
@pytest.mark.timeout(900)
def test_both_send_every_webhook_though_their_shipper_is_killed(
    old_tree: Tree, new_tree: Tree, tmp_path: Path
) -> None:
    chosen = {"webhook": plans(4, EVENTS, each=1, kills=2)["webhook"]}
    how = {"kills": 1, "seed": 4, "timeout_s": 600}
    before, after = both(old_tree, new_tree, tmp_path, chosen, EVENTS, **how)
    check(before, chosen, EVENTS)
    assert after == before
    good = sorted(set(range(EVENTS)) - chosen["webhook"].poison)
    assert before.message_ids == good, "a message that is sent again keeps its id"


class Fired:
    """A service that keeps webhooks, is killed before it sends them, and is started again."""

    def __init__(self, first: Tree, then: Tree, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        self.receiver = Receiver()
        self.receiver.closed = True
        (home / "realm.toml").write_text(self.receiver.webhook_settings())
        self._first, self._then = first, then

    def run(self) -> tuple[dict[int, int], list[int], list[tuple[str, int]]]:
        """How often each event was taken, the events of messages, and states of messages."""
        emit = (
            "import sys, realm_telemetry as realm\n"
            "realm.configure(home=sys.argv[1], exporters=['battle_log'], exit_wait='always')\n"
            "[realm.emit('note', f'Note #{n:05d}#') for n in range(12)]\n"
            "realm.shutdown(20)\n"
        )
        service = Service(self._first, self.home)
        try:
            done = self._first.run("-c", emit, str(self.home))
            assert done.returncode == 0, done.stderr
            wait_until(lambda: self._messages() == [("pending", 12)])
            self._wait_for_a_refusal()
            service.end()
            assert len(logged(self.home)) == 12
            self.receiver.closed = False
            service = Service(self._then, self.home)
            wait_until(lambda: self._messages() == [("delivered", 12)])
        finally:
            service.end()
            self.receiver.close()
        numbers = sorted(n for each in self.receiver.messages() for n in each.numbers)
        return dict(sorted(self.receiver.taken["/hook"].items())), numbers, self._messages()

    def _wait_for_a_refusal(self) -> None:
        """Until the first message was just refused, the others behind it, so none is in flight."""
        query = "SELECT sum(attempts) FROM messages"
        attempts = rows(self.home / "data" / "webhooks.db", query)
        wait_until(lambda: rows(self.home / "data" / "webhooks.db", query) != attempts)

    def _messages(self) -> list[tuple[str, int]]:
        query = "SELECT state, count(*) FROM messages GROUP BY state"
        return rows(self.home / "data" / "webhooks.db", query)


@pytest.mark.long
def test_a_killed_service_fires_each_rule_once_and_the_new_one_sends_what_an_old_one_kept(
    old_tree: Tree, new_tree: Tree, tmp_path: Path
) -> None:
    pairs = {"old": (old_tree, old_tree), "new": (new_tree, new_tree), "both": (old_tree, new_tree)}
    runs = [Fired(first, then, tmp_path / name) for name, (first, then) in pairs.items()]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(Fired.run, runs))
    assert found == [(dict.fromkeys(range(12), 1), list(range(12)), [("delivered", 12)])] * 3


RECORDS: Final = 200
BATCH: Final = 20


def exported(first: Tree, then: Tree, home: Path) -> tuple[dict[int, int], list[str]]:
    """Kill a durable processor's program twice; how often each record came, and what is left."""
    script = str(Path(__file__).parent / "durable_emitting.py")
    home.mkdir(mode=0o700)
    receiver = Receiver(Plan({55: ["kill"], 140: ["kill"]}))
    try:
        for tree, count in ((first, RECORDS), (then, 0), (then, 0)):
            program = subprocess.Popen(
                [sys.executable, "-P", script, DURABLE_PROCESSOR, receiver.url, str(count)],
                env=tree.environment(REALM_HOME=str(home)),
            )
            receiver.kill = program.kill
            program.wait(60)
        left = [path.name for path in (home / "spool" / "otel").rglob("spool/*")]
        return dict(receiver.taken["/records"]), left
    finally:
        receiver.close()


def test_a_durable_processor_goes_on_where_its_control_page_says(
    old_tree: Tree, new_tree: Tree, tmp_path: Path
) -> None:
    """A crash repeats one batch and not a segment: also where new code finds an old one's spool."""
    for name, first, then in (
        ("old", old_tree, old_tree),
        ("new", new_tree, new_tree),
        ("both", old_tree, new_tree),
    ):
        taken, left = exported(first, then, tmp_path / name)
        assert sorted(taken) == list(range(RECORDS)), name
        assert sum(taken.values()) - RECORDS <= 2 * BATCH, name
        assert left == [], name

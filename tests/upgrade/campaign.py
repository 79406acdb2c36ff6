"""A program that emits one event after another of every kind; run by `make_homes.py`.

Arguments: home, seed, rounds, an address for webhooks (or an empty text).
"""

import inspect
import random
import sys
from typing import Any

import realm_telemetry as realm

home, seed, rounds, url = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
chance = random.Random(seed)
KINDS = [kind for kind in realm.KIND_METADATA if kind not in ("process_lost", "events_dropped")]
TEXTS = {
    "job_type": ("train", "eval", "forge"),
    "worker_id": ("w1", "w2", "w3"),
    "skill": ("binary", "sorting"),
    "role": ("trainer", "evaluator"),
    "device": ("cpu", "cuda:0"),
    "status": ("idle", "busy"),
    "mode": ("train", "pause"),
    "suite": ("nightly",),
    "section": ("notes",),
}


def value(name: str, wanted: str) -> Any:
    """A value for a helper's argument, by its name and its type."""
    if "int" in wanted:
        return chance.randrange(1, 5000)
    if "float" in wanted:
        return round(chance.uniform(0.0, 4.0), 4)
    if name in TEXTS:
        return chance.choice(TEXTS[name])
    return f"{name}-{chance.randrange(6)}"


def emit(kind: str) -> None:
    """Emit one event by the helper of its kind."""
    helper = getattr(realm, kind)
    given = {
        each.name: value(each.name, str(each.annotation))
        for each in inspect.signature(helper).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    given |= {"hero_id": chance.choice(("dio", "ada")), "campaign_id": f"c{chance.randrange(3)}"}
    if url and chance.random() < 0.05:
        given["webhooks"] = [f"{url}/asked/{chance.randrange(3)}"]
    helper(**given)


realm.configure(
    service_name=f"campaign{seed}",
    home=home,
    exporters=["battle_log", "jsonl"],
    shipper="none",
    run_id=f"r{seed}",
)
realm.register_kind("gradient_norm", channel="training", message="Norm {norm:.1f}", routine=True)
for _ in range(rounds):
    for kind in KINDS:
        emit(kind)
    realm.emit("gradient_norm", norm=chance.uniform(0, 9))
realm.shutdown()

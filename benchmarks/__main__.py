"""`make bench`: every figure of docs/performance.md, in one run, on this machine."""

import sys
from collections.abc import Callable

from benchmarks import (
    emit_bench,
    history_bench,
    idle_bench,
    integrations_bench,
    log_bench,
    otlp_bench,
    otlp_in_bench,
    path_bench,
    postgres_bench,
    redaction_bench,
    run_bench,
    service_bench,
    shipper_bench,
    start_bench,
    webhook_bench,
)
from benchmarks.measure import Figure, machine, show

GROUPS: dict[str, Callable[[], list[Figure]]] = {
    "emit": emit_bench.figures,
    "start": start_bench.figures,
    "shipper": shipper_bench.figures,
    "idle": idle_bench.figures,
    "run": run_bench.figures,
    "log": log_bench.figures,
    "history": history_bench.figures,
    "integrations": integrations_bench.figures,
    "path": path_bench.figures,
    "postgres": postgres_bench.figures,
    "redaction": redaction_bench.figures,
    "otlp": otlp_bench.figures,
    "service": service_bench.figures,
    "webhooks": webhook_bench.figures,
    "otlp_in": otlp_in_bench.figures,
}


def main() -> None:
    """Run all groups, or those named on the command line."""
    chosen = sys.argv[1:] or list(GROUPS)
    unknown = [name for name in chosen if name not in GROUPS]
    if unknown:
        sys.exit(f"no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    print(machine())
    for name in chosen:
        show(name, GROUPS[name]())


if __name__ == "__main__":
    main()

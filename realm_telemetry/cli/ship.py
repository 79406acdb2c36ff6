"""`realm ship`: empty spools by hand, or look at them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from realm_telemetry.cli.command import command, json_option, settings, timeout_option
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import json_document, line
from realm_telemetry.errors import counted
from realm_telemetry.shipper.overview import PipelineStatus, pipeline_status
from realm_telemetry.shipper.ship_once import ShipResult, ship_once

_SHOWN_LETTERS: Final = 5


@command(
    examples=(
        ("realm ship --once --timeout 60", "In an epilog or a preStop hook: ship all there is."),
        ("realm ship --status", "What waits in spools, who ships it, how far exporters are."),
        ("realm ship --status --json", "The same for a program."),
    )
)
@click.option("--once", is_flag=True, help="Ship what spools hold now, then end.")
@click.option("--status", is_flag=True, help="Show spools, cursors, lag and the last error.")
@click.option(
    "--spool",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A spool directory elsewhere, of another home or host.",
)
@timeout_option(30.0, "How long --once may take; what is left stays where it is.")
@json_option("Print a JSON array.")
def ship(once: bool, status: bool, spool: Path | None, timeout_s: float, as_json: bool) -> int:
    """Ship what waits in spools, or show what waits.

    Programs start a shipper by themselves; this is for the end of a batch job, and for looking.
    Exit code 1 if --once leaves anything, or with --status if a pipeline has an error.
    """
    if once == status:
        raise click.UsageError("Say --once or --status.")
    own = settings()
    pipelines = pipeline_status(own.home, spool, own.spool)
    if status:
        return _show(pipelines, as_json)
    results = ship_once([Path(each.directory) for each in pipelines], timeout_s)
    return _print_report(results, as_json)


def _show(pipelines: Sequence[PipelineStatus], as_json: bool) -> int:
    if as_json:
        json_document([_shape(each) for each in pipelines])
    elif not pipelines:
        line("There is no pipeline: nothing has been emitted here, or all of it is shipped.")
    else:
        for each in pipelines:
            for text in describe(each):
                line(text)
    return EXIT_PROBLEM if any(each.error for each in pipelines) else 0


def describe(pipeline: PipelineStatus) -> list[str]:
    """Return a pipeline's status in lines for a person."""
    shipper = f"shipper pid {pipeline.pid}" if pipeline.running else "no shipper runs"
    living = sum(spool.alive for spool in pipeline.spools)
    spools = f"{counted(len(pipeline.spools), 'spool')}, {living} of running programs"
    lines = [
        f"pipeline {pipeline.pipeline}: {shipper}",
        f"  {spools}, in {pipeline.directory}",
    ]
    for spool in pipeline.spools:
        counts = {
            "to store": spool.pending,
            "to export": spool.unexported,
            "given up": spool.undelivered,
            "dropped": spool.dropped,
        }
        parts = [f"{count:,} {name}" for name, count in counts.items() if count]
        state = "running" if spool.alive else "ended"
        lines.append(f"    {spool.producer} {state}: {', '.join(parts) or 'all shipped'}")
    for name, lag in pipeline.lag.items():
        lines.append(f"  {name}: at cursor {pipeline.cursors[name]}, {counted(lag, 'row')} behind")
    if pipeline.dead_letters:
        lines.append(f"  {counted(len(pipeline.dead_letters), 'dead letter')}, the last of them:")
        lines += [f"    {letter}" for letter in pipeline.dead_letters[-_SHOWN_LETTERS:]]
    for refusal in pipeline.refused:
        lines.append(
            f"  {refusal.exporter}: {counted(refusal.count, 'event')} refused by the other side,"
            f" which does not say which: {refusal.reason}"
        )
    if pipeline.error:
        lines.append(f"  error: {pipeline.error}")
    return lines


def _shape(pipeline: PipelineStatus) -> dict[str, object]:
    import msgspec

    return {**msgspec.structs.asdict(pipeline), "pending": pipeline.pending}


def _print_report(results: Sequence[ShipResult], as_json: bool) -> int:
    if as_json:
        json_document(results)
    elif not results:
        line("There is nothing to ship.")
    else:
        for result in results:
            line(f"{Path(result.directory).name}: {_outcome(result)}")
    return 0 if all(result.complete for result in results) else EXIT_PROBLEM


def _outcome(result: ShipResult) -> str:
    if result.complete:
        return "all shipped"
    left = f"{counted(result.pending, 'event')} left to store, {result.unexported:,} to export"
    return f"{left}. {result.problem}" if result.problem else f"{left}."

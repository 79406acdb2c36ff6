"""`realm kinds`: the catalog."""

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.terminal import cell, json_document, make_table, print_table
from realm_telemetry.errors import LogError
from realm_telemetry.kinds import catalog
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.kind_watch import learn_kinds


@command(
    examples=(
        ("realm kinds", "All of them with their channels, severities and messages."),
        ("realm kinds --json", "The same for a program."),
    )
)
@json_option("Print a JSON array.")
def kinds(as_json: bool) -> None:
    """List the kinds of events, built in or registered.

    A routine kind repeats by the thousand: views show the latest and count the others. Programs
    add kinds of their own with register_kind, and the log of this home keeps them; an unknown kind
    is never refused.
    """
    _learn_from_log()
    if as_json:
        json_document([_shape(spec) for spec in catalog.kinds()])
        return
    table = make_table(("kind", "channel", "severity", "notes", "message"))
    for spec in catalog.kinds():
        table.add_row(
            cell(spec.kind, "bold"),
            cell(f"{catalog.CHANNEL_ICONS[spec.channel]} {spec.channel}"),
            cell(f"{catalog.SEVERITY_ICONS[spec.severity]} {spec.severity}"),
            cell(_notes(spec)),
            cell(str(spec.template or "")),
        )
    print_table(table)


def _learn_from_log() -> None:
    try:
        with open_log(settings().log_path).reader() as reader:
            learn_kinds(reader.now.kinds())
    except LogError:  # the built-in ones do not need a log
        return


def _origin(spec: catalog.KindSpec) -> str:
    return "built-in" if spec.kind in catalog.KIND_METADATA else "registered"


def _notes(spec: catalog.KindSpec) -> str:
    notes = ["routine"] if spec.routine else []
    if _origin(spec) == "registered":
        notes.append("registered")
    return " ".join(notes)


def _shape(spec: catalog.KindSpec) -> dict[str, object]:
    return {
        "kind": spec.kind,
        "channel": spec.channel,
        "severity": spec.severity,
        "routine": spec.routine,
        "origin": _origin(spec),
        "message": None if spec.template is None else str(spec.template),
    }

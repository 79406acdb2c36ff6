"""`realm kinds`: the catalog."""

from realm_telemetry import catalog
from realm_telemetry.cli.command import command, json_option
from realm_telemetry.cli.terminal import cell, json_document, make_table, print_table


@command(
    examples=(
        ("realm kinds", "All of them with their channels, severities and messages."),
        ("realm kinds --json", "The same for a program."),
    )
)
@json_option("Print a JSON array.")
def kinds(as_json: bool) -> None:
    """List the built-in kinds of events.

    A routine kind repeats by the thousand: views show the latest and count the others. Programs
    add kinds of their own with register_kind; an unknown kind is never refused.
    """
    if as_json:
        json_document([_shape(spec) for spec in catalog.kinds()])
        return
    table = make_table(("kind", "channel", "severity", "routine", "message"))
    for spec in catalog.kinds():
        table.add_row(
            cell(spec.kind, "bold"),
            cell(f"{catalog.CHANNEL_ICONS[spec.channel]} {spec.channel}"),
            cell(f"{catalog.SEVERITY_ICONS[spec.severity]} {spec.severity}"),
            cell("routine" if spec.routine else ""),
            cell(str(spec.template or "")),
        )
    print_table(table)


def _shape(spec: catalog.KindSpec) -> dict[str, object]:
    return {
        "kind": spec.kind,
        "channel": spec.channel,
        "severity": spec.severity,
        "routine": spec.routine,
        "message": None if spec.template is None else str(spec.template),
    }

"""`realm demo`: a real lab on this machine."""

import click

from realm_telemetry.cli.command import command, given_home


@command(
    examples=(
        ("realm demo", "The lab and the service, until Ctrl-C."),
        ("realm demo --once", "One campaign with a summary; exit code 0 if all arrived."),
        (
            "realm demo --once --quick --port 0 --battle-log-port 0 --ui-port 0",
            "A campaign of seconds, on any free ports.",
        ),
        ("realm demo --endings", "Six trainings that end in six ways, and what is said of each."),
        (
            "realm demo --framework transformers",
            "A training with transformers, recorded without a line of code.",
        ),
    )
)
@click.option("--once", is_flag=True, help="End after one campaign, with a summary.")
@click.option("--quick", is_flag=True, help="A campaign of seconds.")
@click.option("--endings", is_flag=True, help="Trainings that break, in under two minutes.")
@click.option(
    "--framework", type=click.Choice(["transformers"]), help="A training with it, for 30 seconds."
)
@click.option("--port", type=click.IntRange(0, 65_535), default=8866, show_default=True)
@click.option("--battle-log-port", type=click.IntRange(0, 65_535), default=8767, show_default=True)
@click.option("--ui-port", type=click.IntRange(0, 65_535), default=8888, show_default=True)
def demo(
    once: bool,
    quick: bool,
    endings: bool,
    framework: str | None,
    port: int,
    battle_log_port: int,
    ui_port: int,
) -> int:
    """Train a real network and watch its events arrive in both views.

    A training process, two job workers and the service, each for real; one job fails and one
    worker is killed on purpose. Its home is .demo/realm here, also if REALM_HOME is set, unless
    --home names another. With --endings it is .demo/endings, and with --framework
    .demo/frameworks.
    """
    if endings and framework:
        raise click.UsageError("--endings and --framework are two demos; name one.")
    if framework:
        from realm_telemetry.demo import framework as demo_framework
        from realm_telemetry.demo.service import Ports

        ports = Ports(port, battle_log_port, ui_port)
        return demo_framework.run(framework, home=given_home(), ports=ports, quick=quick)
    if endings:
        from realm_telemetry.demo import endings as demo_endings
        from realm_telemetry.demo.service import Ports

        return demo_endings.run(home=given_home(), ports=Ports(port, battle_log_port, ui_port))
    from realm_telemetry.demo import run

    return run(
        home=given_home(),
        once=once,
        quick=quick,
        port=port,
        battle_log_port=battle_log_port,
        ui_port=ui_port,
    )

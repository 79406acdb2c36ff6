"""`realm.show(run)`: the report of a run within a notebook, or as text anywhere else."""

from contextlib import closing
from html import escape
from typing import Final

from realm_telemetry.cli.problems import UnknownRunError
from realm_telemetry.cli.show import unknown_run
from realm_telemetry.cli.sources import open_source
from realm_telemetry.config import load_settings, located
from realm_telemetry.producer.api import flush, get_telemetry
from realm_telemetry.producer.context import base
from realm_telemetry.values.clock import Deadline

FLUSH_S: Final = 5.0
FOLD_S: Final = 2.0
_AGAIN_S: Final = 0.1
HEIGHT_PX: Final = 640


class RunReport:
    """The report of one run, as it was when it was asked for.

    A notebook shows it with its curves; `str` and `print` have it as Markdown.
    """

    def __init__(self, run_id: str, markdown: str, html: str) -> None:
        self.run_id = run_id
        self.markdown = markdown
        self.html = html

    def __str__(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return f"<report of the run {self.run_id!r}>"

    def _repr_html_(self) -> str:
        """Return the document in a frame of its own.

        Its style stays in the frame, and the frame runs nothing.
        """
        style = f"width:100%;height:{HEIGHT_PX}px;border:0"
        document = escape(self.html, quote=True)
        return f'<iframe sandbox style="{style}" srcdoc="{document}"></iframe>'


def show(run: str | None = None, *, url: str | None = None) -> RunReport:
    """Return the report of a run, for a notebook to show; each call reads it anew.

    run: its id; by default the run of this process.
    url: of a service to ask; else the usual one if it runs, else the log.
    Raises UnknownRunError, LogError, ServiceError, ConfigError.
    """
    telemetry = get_telemetry()
    if telemetry is not None:
        flush(FLUSH_S)
    run_id = run or base.run_id
    if run_id is None:
        raise UnknownRunError("", ["one that is named: show('RUN')"])
    settings = located(load_settings() if telemetry is None else telemetry.settings)
    source = open_source(settings, url=url, from_log=False, report=lambda text: None)
    with closing(source):
        deadline = Deadline(FOLD_S if run_id == base.run_id else 0.0)
        while (markdown := source.report(run_id, "md")) is None and deadline.wait(_AGAIN_S):
            pass  # a service folds what was stored a moment ago
        html = source.report(run_id, "html")
        if markdown is None or html is None:
            raise unknown_run(source, run_id)
    return RunReport(run_id, markdown, html)

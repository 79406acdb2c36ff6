"""`realm login`: a link that logs a browser in."""

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.problems import MissingExtraError
from realm_telemetry.cli.serve import PACKAGES
from realm_telemetry.cli.terminal import json_document, line, note
from realm_telemetry.config import load_settings
from realm_telemetry.home.token import addresses_of


@command(
    examples=(
        ("realm login", "Open the link within ten minutes; it works once."),
        ("realm login --json | jq -r .url", "For a script."),
    )
)
@json_option("Print a JSON object: url, and expires_in_s.")
def login(as_json: bool) -> None:
    """Print a link that logs a browser in.

    The token is that of the home (access = "token" in realm.toml), or REALM_TOKEN. The link works
    once and for ten minutes; the browser then has a cookie for 30 days.
    """
    try:
        from realm_telemetry.service.sessions import TICKET_AGE_S, login_url
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        raise MissingExtraError("login", "service", package) from error
    chosen = settings()
    url = login_url(addresses_of(chosen.service_url)[0], chosen.token)
    if as_json:
        json_document({"url": url, "expires_in_s": TICKET_AGE_S if chosen.token else None})
        return
    line(url)
    if not chosen.token and load_settings().token:
        note(f"No service runs on {chosen.home}, so this link logs nobody in: realm up")
    elif not chosen.token:
        note("No token is set here: the service asks for none, or for one that is not known here.")

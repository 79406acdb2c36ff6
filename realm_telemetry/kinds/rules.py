"""What a kind of the user's own must be like."""

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import CHANNELS, SEVERITIES
from realm_telemetry.kinds.table import KIND_METADATA


def check_kind(kind: str, channel: str, severity: str, template: str | None) -> None:
    """Raise ConfigError, with the way to mend it, unless a kind can be registered like this."""
    setting = f"register_kind({kind!r})"
    if not _is_snake_case(kind):
        raise ConfigError(
            setting,
            "a kind is snake_case, like gradient_exploded",
            "Write lower-case letters and digits, words divided by one underscore.",
        )
    if kind in KIND_METADATA:
        raise ConfigError(setting, "the kind is built in", "Choose another name for yours.")
    for field, value, known in (
        ("channel", channel, CHANNELS),
        ("severity", severity, SEVERITIES),
    ):
        if value not in known:
            raise ConfigError(
                setting, f"there is no {field} {value!r}", f"Use one of {', '.join(known)}."
            )
    if template is not None:
        _check_template(setting, template)


def _is_snake_case(kind: str) -> bool:
    return (
        isinstance(kind, str)
        and kind.isascii()
        and kind == kind.lower()
        and kind[:1].isalpha()
        and all(word.isalnum() for word in kind.split("_"))
    )


def _check_template(setting: str, template: str) -> None:
    from string import Formatter

    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except (TypeError, ValueError) as error:
        raise ConfigError(
            setting,
            f"the message {template!r} is not a format string ({error})",
            "Write fields as {name} or {name:.2f}, and braces doubled.",
        ) from None
    if any(not name or name[0].isdigit() for name in names):
        raise ConfigError(
            setting,
            f"the message {template!r} has a field without a name",
            "Name the detail it shows, like {norm:.1f}.",
        )

"""OpenTelemetry's declarative configuration, as far as exporters of ours are named in it.

The package `opentelemetry-configuration` (beside SDK 1.44 and later) puts the rest of a file into
force. Where it is not installed we read what we need ourselves: our exporters and the resource.
Source: https://opentelemetry.io/docs/specs/otel/configuration/data-model/
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from realm_telemetry.errors import ConfigError

_REFERENCE: Final = re.compile(r"\$\$|\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^\n}]*))?\}")


def read_file(path: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Read a file, YAML or JSON, with `${VARIABLE:-default}` filled in.

    Raises ConfigError.
    """
    import yaml  # of the extra `auto`

    try:
        text = Path(path).read_text(encoding="utf-8")
        found = yaml.safe_load(_REFERENCE.sub(lambda match: _filled(match, environ), text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"OTEL_CONFIG_FILE={path}", f"it cannot be read ({error})", "Mend or rename it."
        ) from error
    return found if isinstance(found, dict) else {}


def _filled(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    return environ.get(match[1]) or match[2] or ""


def file_exporters(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and options of each log exporter in a file, in order."""
    if config.get("disabled"):
        return
    for processor in _at(config, "logger_provider", "processors") or ():
        for settings in processor.values() if isinstance(processor, dict) else ():
            exporter = _at(settings, "exporter")
            if isinstance(exporter, dict):
                yield from ((name, dict(options or {})) for name, options in exporter.items())


def file_resource(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resource attributes that a file gives; those with a name win over the list."""
    listed = str(_at(config, "resource", "attributes_list") or "")
    pairs = (item.partition("=") for item in listed.split(",") if "=" in item)
    attributes: dict[str, Any] = {key.strip(): unquote(value.strip()) for key, _, value in pairs}
    for item in _at(config, "resource", "attributes") or ():
        if isinstance(item, dict) and item.get("name") and item.get("value") is not None:
            attributes[str(item["name"])] = item["value"]
    return attributes


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value

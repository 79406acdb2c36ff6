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

    Values are filled in once the file is parsed, so that none of them can be read as YAML.
    Raises ConfigError, whose text shows nothing of what is in the file.
    """
    import yaml  # of the extra `auto`

    try:
        text = Path(path).read_text(encoding="utf-8")
        found = yaml.load(text, Loader=_filling_loader(environ))
    except yaml.YAMLError as error:
        raise _unreadable(path, _without_excerpt(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    return found if isinstance(found, dict) else {}


def _unreadable(path: str, problem: str) -> ConfigError:
    return ConfigError(
        f"OTEL_CONFIG_FILE={path}", f"it cannot be read ({problem})", "Correct or rename it."
    )


def _without_excerpt(error: Exception) -> str:
    """What YAML says is wrong and where; its own text shows the line, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    return "it is no YAML" + (f", see line {mark.line + 1}" if mark is not None else "")


def _filling_loader(environ: Mapping[str, str]) -> Any:
    """YAML's safe loader, with variables filled into values but not into keys."""
    import yaml

    class FillingLoader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            again = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            is_key = isinstance(parent, yaml.MappingNode) and index is None
            if isinstance(node, yaml.ScalarNode) and not is_key and not again:
                self._fill(node)
            return node

        def _fill(self, node: yaml.ScalarNode) -> None:
            given = node.value
            node.value = _REFERENCE.sub(lambda match: _filled(match, environ), given)
            whole = _REFERENCE.fullmatch(given)
            if whole is not None and whole[1] and node.style is None:
                # Not in quotes, and nothing beside it: `${LIMIT}` may be a number.
                node.tag = self.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]

    return FillingLoader


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

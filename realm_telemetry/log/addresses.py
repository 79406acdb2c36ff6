"""Addresses of webhooks as they may be shown."""

from urllib.parse import urlsplit


def redacted(url: str) -> str:
    """An address as it may be shown: scheme and host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "?", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not an address)"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}/…"

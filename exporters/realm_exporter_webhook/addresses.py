"""Which addresses may be sent to.

Every program that may emit can name an address; it must not make this host speak to its own
services, to its neighbours or to a cloud's metadata (server-side request forgery, OWASP A10).
A name is resolved once, every address it has is checked, and the connection goes to one of those
that were checked: a name that resolves to something else a moment later (DNS rebinding) gains
nothing.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from realm_telemetry.log.outbox import redacted

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

# Global by their numbers, but inside a cloud they are its own services'.
METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "168.63.129.16",  # Azure's wire server
        "169.254.169.254",
        "169.254.170.2",  # ECS tasks
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",
    )
)
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")


class RefusedAddressError(Exception):
    """An address that is not sent to; the message says why and what to do."""


class UnresolvedError(Exception):
    """A name that cannot be resolved now."""


class Checked(NamedTuple):
    """Where to connect for an address: only to these.

    host: as the address says it, for the Host header and the certificate.
    """

    url: str
    host: str
    addresses: tuple[str, ...]


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name.

    Raises OSError.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Checks addresses.

    allowed: host names (or addresses, as they stand in the URL) that may be private.
    """

    def __init__(self, allowed: Sequence[str] = (), resolver: Resolver = resolve) -> None:
        self._allowed = frozenset(name.lower().rstrip(".").strip("[]") for name in allowed)
        self._resolver = resolver

    def check(self, url: str) -> Checked:
        """Return where to connect.

        Raises RefusedAddressError, UnresolvedError.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise RefusedAddressError(f"{redacted(url)} is no address") from None
        if parts.scheme not in ("http", "https") or not host:
            raise RefusedAddressError(f"{redacted(url)} is no http:// or https:// address")
        addresses = self._resolved(host, port or (443 if parts.scheme == "https" else 80))
        if host.rstrip(".") not in self._allowed:
            for address in addresses:
                _refuse_if_inside(host, address)
        return Checked(url, host, addresses)

    def _resolved(self, host: str, port: int) -> tuple[str, ...]:
        try:
            addresses = tuple(self._resolver(host, port))
        except (OSError, UnicodeError) as error:
            raise UnresolvedError(f"{host} cannot be resolved ({error})") from None
        if not addresses:
            raise UnresolvedError(f"{host} has no address")
        return addresses


def _refuse_if_inside(host: str, text: str) -> None:
    what = inside(ip_address(text.partition("%")[0]))
    if what is None:
        return
    raise RefusedAddressError(
        f"{host} is {text}, {what}, and nothing is sent there unasked. If you mean it, add"
        f" {host!r} to options.webhook.allow_hosts in realm.toml"
    )


def is_this_host(address: str) -> bool:
    """Whether an address never leaves this host."""
    return ip_address(address.partition("%")[0]).is_loopback


def inside(address: Address) -> str | None:
    """What an address is, if it is not one of the internet's; None if it is."""
    if address in METADATA:
        return "a cloud's metadata service"
    embedded = _embedded(address)
    if embedded is not None:
        return inside(embedded)
    if address.is_loopback:
        return "this host"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "no host's address"
    if address.is_multicast:
        return "a multicast address"
    return None if address.is_global else "a private address"


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None

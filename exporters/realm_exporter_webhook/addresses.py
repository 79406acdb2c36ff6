"""Which addresses may be sent to.

Every program that may emit can name an address; it must not make this host speak to its own
services, to its neighbours or to a cloud's metadata (server-side request forgery, OWASP A10).
Sent to is only what is globally reachable, after an IPv4 address inside an IPv6 one is taken out.
A name is resolved once, every address it has is checked, and the connection goes to one of those
that were checked: a name that resolves to something else a moment later (DNS rebinding) gains
nothing.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from realm_telemetry.delivery.lookup import Resolver, look_up, resolve
from realm_telemetry.log.outbox import redacted

Address = IPv4Address | IPv6Address

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
        "fd20:ce::254",  # Google Cloud
    )
)

# Python's own tables differ from one patch release to the next, so these count as well as they.
# https://www.iana.org/assignments/iana-ipv4-special-registry: all that is not globally reachable.
NOT_GLOBAL_4: Final = {
    IPv4Network(text): what
    for text, what in (
        ("0.0.0.0/8", "no host's address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "an address behind a carrier's NAT"),
        ("127.0.0.0/8", "this host"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "an address of the protocols themselves"),
        ("192.0.2.0/24", "an address for documentation"),
        ("192.88.99.0/24", "a relay that is no longer in use"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "an address for benchmarks"),
        ("198.51.100.0/24", "an address for documentation"),
        ("203.0.113.0/24", "an address for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
}
# https://www.iana.org/assignments/iana-ipv6-special-registry: the same, and what is worth a name
# outside of GLOBAL_6.
NOT_GLOBAL_6: Final = {
    IPv6Network(text): what
    for text, what in (
        ("::/128", "no host's address"),
        ("::1/128", "this host"),
        ("64:ff9b:1::/48", "a translated address of one network only"),
        ("2001::/23", "an address of the protocols themselves"),  # Teredo's too
        ("2001:db8::/32", "an address for documentation"),
        ("3fff::/20", "an address for documentation"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
}
GLOBAL_6: Final = IPv6Network("2000::/3")
"""All that is given out for the internet (iana-ipv6-address-space); the rest is not, today."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
"""The third quarter of an address that tunnels to the IPv4 address in the fourth (RFC 5214)."""


LOOK_UP_S: Final = 5.0


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


class Guard:
    """Checks addresses.

    allowed: host names (or addresses, as they stand in the URL) that may be private.
    """

    def __init__(self, allowed: Sequence[str] = (), resolver: Resolver = resolve) -> None:
        self._allowed = frozenset(name.lower().rstrip(".").strip("[]") for name in allowed)
        self._resolver = resolver

    def check(self, url: str, timeout_s: float = LOOK_UP_S) -> Checked:
        """Return where to connect, after a look-up of the name of at most so long.

        Raises RefusedAddressError, UnresolvedError.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise RefusedAddressError(f"{redacted(url)} is no address") from None
        if parts.scheme not in ("http", "https") or not host:
            raise RefusedAddressError(f"{redacted(url)} is no http:// or https:// address")
        port = port or (443 if parts.scheme == "https" else 80)
        addresses = self._resolved(host, port, timeout_s)
        if host.rstrip(".") not in self._allowed:
            for address in addresses:
                _refuse_if_inside(host, address)
        return Checked(url, host, addresses)

    def _resolved(self, host: str, port: int, timeout_s: float) -> tuple[str, ...]:
        literal = host.partition("%")[0].rstrip(".")  # a zone is this host's affair
        if _is_address(literal):
            return (literal,)
        try:
            addresses = tuple(look_up(host, port, timeout_s, self._resolver))
        except (OSError, ValueError) as error:
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


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


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
    known = NOT_GLOBAL_4 if isinstance(address, IPv4Address) else NOT_GLOBAL_6
    for network, what in known.items():
        if address in network:
            return what
    if isinstance(address, IPv6Address) and address not in GLOBAL_6:
        return "no address of the internet"
    return None if address.is_global else "a private address"


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(number & 0xFFFFFFFF)
    return None

"""Whose address a request comes from, where proxies stand between."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

OWN_PREFIX = 64  #: bits of an IPv6 address that name one network; whoever has it has all of its addresses


class Proxies:
    """Addresses whose programs bound their own clients, and say for whom they speak (``X-Forwarded-For``)."""

    def __init__(self, networks: Collection[str]) -> None:
        self.networks = [ipaddress.ip_network(network) for network in networks]

    def trusts(self, address: str) -> bool:
        """Tell whether a connection of this address is a proxy's."""
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self.networks)

    def client_of(self, peer: str, forwarded: str) -> str:
        """Name the client of a request: the last address that a trusted proxy says, else the connection's own."""
        said = forwarded.rpartition(",")[2].strip()
        return said if self.trusts(peer) and _parsed(said) is not None else peer


def one_for_all(address: str) -> str:
    """Name all addresses of one client alike: an IPv6 network by its first 64 bits.

    >>> one_for_all("2001:db8::7"), one_for_all("192.0.2.7")
    ('2001:db8::/64', '192.0.2.7')
    """
    parsed = _parsed(address)
    if parsed is None or parsed.version == 4:  # noqa: PLR2004 (IPv4)
        return address
    return str(ipaddress.ip_network((parsed, OWN_PREFIX), strict=False))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed

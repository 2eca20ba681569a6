"""The addresses that audio may come from: public ones only, so that no URL leads into a company's network.

Python's `is_global` is not enough: NAT64, 6to4, multicast and, in some versions, the metadata service of some clouds
count as global.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from ..core.errors import UrlRefused
from .storage_answers import BrokenTransfer

_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments; the metadata service of a cloud is among them
            "168.63.129.16/32",  # the host agent of Azure, on each virtual machine
            "192.88.99.0/24",  # 6to4 relays
            "2001::/23",  # Teredo, ORCHID and other assignments that no server has
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)
_ASSIGNED_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def resolve_public(host: str, *, loopback_allowed: bool) -> list[str]:
    """Resolve a host to its addresses, at least one.

    Raises `UrlRefused` if one of them is not public, and `BrokenTransfer` if there is none.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BrokenTransfer(f"{host} does not resolve ({type(error).__name__})", error.errno) from None
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in addresses:
        if not may_send_audio(address, loopback_allowed=loopback_allowed):
            raise UrlRefused(f"{host} resolves to {address}, which is not a public address")
    if not addresses:
        raise BrokenTransfer(f"{host} resolves to no address")
    return addresses


def may_send_audio(address: str, *, loopback_allowed: bool) -> bool:
    """Return whether audio may come from a numeric address, as a resolver gives it.

    It may if the address is public or, with `loopback_allowed`, this machine's own.
    """
    try:
        ip = _unwrap(ip_address(address))
    except ValueError:
        return False
    if ip.is_loopback:
        return loopback_allowed
    if isinstance(ip, IPv6Address) and ip not in _ASSIGNED_IPV6:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


def _unwrap(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that a mapped or NAT64 address stands for: that is the host that answers."""
    if isinstance(ip, IPv4Address):
        return ip
    return IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else ip.ipv4_mapped or ip

"""Which addresses audio may come from: those of the public Internet, so that no URL leads into a company's network.

Python's `is_global` is not enough: it calls NAT64, 6to4, multicast and, by its version, some clouds' metadata global.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments, and a cloud's metadata among them
            "192.88.99.0/24",  # relays of 6to4
            "2001::/23",  # Teredo, ORCHID and other assignments that no server has
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)
_ASSIGNED_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def may_send_audio(address: str, *, loopback_allowed: bool) -> bool:
    """Whether a numeric address, as a resolver gives it, is public; or this machine's own, where that is allowed."""
    try:
        ip = _meant(ip_address(address))
    except ValueError:
        return False
    if ip.is_loopback:
        return loopback_allowed
    if isinstance(ip, IPv6Address) and ip not in _ASSIGNED_IPV6:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that a mapped or a NAT64 one stands for: it is what will be reached."""
    if isinstance(ip, IPv4Address):
        return ip
    return IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else ip.ipv4_mapped or ip

"""The addresses that audio may come from: public ones only, so that no URL leads into a company's network.

Python's `is_global` is not enough: NAT64, 6to4, multicast and, in some versions, the metadata service of some clouds
count as global.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments; the metadata service of a cloud is among them
            "192.88.99.0/24",  # 6to4 relays
            "2001::/23",  # Teredo, ORCHID and other assignments that no server has
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)
_ASSIGNED_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


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

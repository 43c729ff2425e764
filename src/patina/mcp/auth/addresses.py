"""Which addresses of the network a stranger may send Patina to.

What a server says about its sign-in decides where Patina connects. Without a rule, any server could
make it ask machines behind the user's router, services of this machine, or the metadata service of
the cloud that it runs in. The tables are our own, for those of `ipaddress` differ between releases
of Python. Facts: the IANA registries of special-purpose addresses (RFC 6890, 8190), RFC 6052.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal

Kind = Literal["public", "private", "loopback", "special"]
# How far in a stranger may send us: as far as the server is that the user configured.
Reach = Literal["public", "private", "loopback"]

_PRIVATE_4: Final = tuple(
    IPv4Network(block)
    for block in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # shared by customers of a provider, and by overlay networks
        "198.18.0.0/15",  # for benchmarks; local proxies stand for names with it
    )
)
_SPECIAL_4: Final = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata services of clouds
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        # Services of clouds for their own machines, at addresses that look like others.
        "100.100.100.200/32",
        "168.63.129.16/32",
    )
)
_PRIVATE_6: Final = IPv6Network("fc00::/7")
_PUBLIC_6: Final = IPv6Network("2000::/3")
_SPECIAL_6: Final = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # of protocols: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "fd00:ec2::/32",  # services of clouds for their own machines
        "fd20:ce::/32",
        "fd00:c1::/32",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def address_in(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that `text` is, in the usual form; None where it is a name."""
    from ipaddress import ip_address

    try:
        return ip_address(text)
    except ValueError:
        return None


def kind_of(address: IPv4Address | IPv6Address) -> Kind:
    """Return what `address` leads to, those inside others by what the inner one leads to.

    "special" is what nobody signs in at: link-local, multicast, documentation, tunnels, metadata
    services of clouds, and whatever is not given to anybody.
    """
    if isinstance(address, IPv4Address):
        return _kind_of_4(address)
    inner = address.ipv4_mapped
    if inner is None and address in _NAT64:
        inner = IPv4Address(address.packed[-4:])
        if _kind_of_4(inner) != "public":
            return "special"  # no translator leads to where its own network is
    if inner is not None:
        return _kind_of_4(inner)
    if address.packed == b"\0" * 15 + b"\1":
        return "loopback"
    if address.scope_id is not None or any(address in block for block in _SPECIAL_6):
        return "special"
    if address in _PRIVATE_6:
        return "private"
    return "public" if address in _PUBLIC_6 else "special"


def _kind_of_4(address: IPv4Address) -> Kind:
    if address.packed[0] == 127:
        return "loopback"
    if any(address in block for block in _SPECIAL_4):
        return "special"
    if any(address in block for block in _PRIVATE_4):
        return "private"
    return "public"


def allowed(address: IPv4Address | IPv6Address, reach: Reach) -> bool:
    """Whether a stranger may send us to `address`."""
    kind = kind_of(address)
    if kind == "private":
        return reach != "public"
    return kind == "public" or (kind == "loopback" and reach == "loopback")

"""Which addresses are on the public network, whatever form they are written in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from knowledge.fetching.model import Allowance

IpAddress = IPv4Address | IPv6Address

_CLOSED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "4000::/2",
        "8000::/1",
    )
)
"""The special registries of IANA, and the metadata service of Azure, which has a public address. Of IPv6 only what is
given out (2000::/3) is open; the metadata services of others are within link-local, shared or unique-local space.

Source  RFC 6890 and its registries.
"""
_NAT64 = IPv6Network("64:ff9b::/96")


def is_open(address: IpAddress, allowance: Allowance) -> bool:
    """Whether an address may be connected to.

    An IPv6 address that stands for one of IPv4 is that one: mapped or translated; tunnels are closed whole.
    """
    meant = _meant(address)
    if any(meant.version == network.version and meant in network for network in allowance.networks):
        return True
    return not any(meant.version == network.version and meant in network for network in _CLOSED)


def address_of(text: str) -> IpAddress:
    """The address that a resolver gave, without the name of an interface. Raises  ValueError."""
    return ip_address(text.partition("%")[0])


def _meant(address: IpAddress) -> IpAddress:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(address.packed[12:])
    return address

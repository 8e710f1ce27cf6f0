"""Which addresses are those of the public internet, by the registries of IANA (RFC 6890 and its successors).

``ipaddress.is_global`` changed its mind in versions of Python; these do not.

**Invariants:** an address that carries another one (IPv4-mapped, NAT64) is judged by that one; what is not known is
private.
"""

from __future__ import annotations

import ipaddress
import re
import socket

_PRIVATE = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
    )
]  # fmt: skip
# Of IPv6 only this is given to anyone; from it are taken Teredo and other protocols, examples, and 6to4.
_GIVEN = ipaddress.IPv6Network("2000::/3")
_TAKEN = [ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
# Where a network has no IPv4, its DNS says these for hosts that have nothing else (RFC 6052, RFC 6147).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What the C library takes for an IPv4 address: 2130706433, 0x7f.1, 0177.0.0.1, 127.1.
_ODD_IPV4 = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}", re.IGNORECASE)
# Names that mean this host or this network, whatever DNS says (RFC 6761, RFC 6762, RFC 8375; internal by ICANN).
_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa", "localdomain")


def is_public(address: str) -> bool:
    """Whether it is an address of the public internet; a zone counts as none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return False
        inner = parsed.ipv4_mapped or (ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else None)
        if inner is None:
            return parsed in _GIVEN and not any(parsed in network for network in _TAKEN)
        parsed = inner
    return not any(parsed in network for network in _PRIVATE)


def may_be_public(host: str) -> bool:
    """Whether a host of an address can be one of the public internet, as far as it says by itself."""
    name = host.strip("[]").rstrip(".").lower()
    if ":" in name:
        return is_public(name)
    if _ODD_IPV4.fullmatch(name):
        try:
            return is_public(socket.inet_ntoa(socket.inet_aton(name)))
        except OSError:
            return False
    return bool(name) and not any(name == local or name.endswith(f".{local}") for local in _LOCAL_NAMES)

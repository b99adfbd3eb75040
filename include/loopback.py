"""Hosts that are this machine, so that requests to them cross no network."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether *host* is `localhost` or an address of the loopback interface.

    Other names are not resolved: a DNS server must not decide whether encryption is required.
    """
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback

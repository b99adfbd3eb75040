"""Which hosts are this machine: what is sent to them crosses no network. Standard library only."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether *host* is `localhost` or an address of the loopback interface.

    No name is looked up: the server that answers for it could then decide what needs no encryption.
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

"""TCP ports of this machine."""

import random
import socket

from include.local.errors import LocalError

LOOPBACK = "127.0.0.1"
FREE_PORTS = (20_000, 32_000)
FREE_PORT_TRIES = 100
CONNECT_TIMEOUT_S = 1


def free_port() -> int:
    """Return a port nobody listens on.

    From below the range that systems give to outgoing connections (from 32,768 on Linux, 49,152 on
    macOS): one of those would be taken before a slow server gets to it.
    """
    for _ in range(FREE_PORT_TRIES):
        port = random.randint(*FREE_PORTS)
        if is_free(port):
            return port
    raise LocalError(
        f"None of {FREE_PORT_TRIES} ports between {FREE_PORTS[0]} and {FREE_PORTS[1]} is free.",
        "Stop some programs that listen on this machine.",
    )


def is_free(port: int) -> bool:
    """Say whether a server could listen on *port* of 127.0.0.1 now."""
    # macOS lets two servers bind one port, one to all addresses and one to this address.
    with socket.socket() as probe:
        probe.settimeout(CONNECT_TIMEOUT_S)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        # As servers do: connections of a server that has just ended don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True

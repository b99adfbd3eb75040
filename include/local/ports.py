"""TCP ports of this machine."""

import socket

LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT_S = 1


def free_port() -> int:
    """Return a port nobody listens on. Take it soon: another program may be faster."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


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

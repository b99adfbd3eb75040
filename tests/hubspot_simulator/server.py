"""The simulator as a server: in a thread for tests, or in the foreground."""

import socket
import threading
from collections.abc import Iterable
from types import TracebackType

import uvicorn

from tests.hubspot_simulator.app import SimulatorApp
from tests.hubspot_simulator.portal import Portal

START_TIMEOUT_S = 10


class HubSpotSimulator:
    """Serves portals on 127.0.0.1, on a free port by default.

    `with HubSpotSimulator([portal]) as simulator:` runs it in a thread.
    """

    def __init__(self, portals: Iterable[Portal], port: int = 0, host: str = "127.0.0.1") -> None:
        self.portals = {portal.portal_id: portal for portal in portals}
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self._socket.listen(128)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            SimulatorApp(self.portals),
            http="httptools",
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def portal(self, portal_id: int) -> Portal:
        return self.portals[portal_id]

    def add(self, portal: Portal) -> Portal:
        """Serve one more portal; one with the same id is replaced."""
        self.portals[portal.portal_id] = portal
        return portal

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> "HubSpotSimulator":
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        # The socket listens already: a connection is accepted as soon as the loop runs.
        socket.create_connection(self._socket.getsockname(), START_TIMEOUT_S).close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

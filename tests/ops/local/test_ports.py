import os
import socket
from pathlib import Path

import pytest

from include.ops.local.processes import LocalError, free_port, is_free
from include.ops.local.stack import LocalStack


@pytest.mark.parametrize("address", ["127.0.0.1", ""], ids=["this-address", "all-addresses"])
def test_a_port_with_a_listener_is_taken(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]

        assert not is_free(port)

    assert is_free(port)


def test_a_taken_port_is_named_together_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(LocalError) as caught:
            LocalStack(tmp_path, port, {}).start()

    assert f"Port {port}, which Airflow needs, is in use" in str(caught.value)
    assert f"AIRFLOW_PORT={port + 100} make demo" in str(caught.value)


def test_a_port_that_our_own_program_has_is_no_obstacle(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, free_port(), {})
    serve = ["http.server", "--bind", "127.0.0.1", str(stack.airflow_port)]
    stack.programs.start_server("server", serve, os.environ, stack.airflow_port)
    try:
        stack.require_free_port()
    finally:
        stack.programs.stop()


def test_a_free_port_is_free_and_no_outgoing_connection_will_take_it() -> None:
    port = free_port()

    assert is_free(port)
    assert port < 32_768

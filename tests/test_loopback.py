import pytest

from include.loopback import is_loopback


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "::1", "[::1]", "::ffff:127.0.0.1"],
)
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "db", "10.0.0.5", "0.0.0.0", "::", "fd00::2", "localhost.example.com", "127.0.0.1.nip.io"],  # noqa: S104
)
def test_everything_else_is_reached_over_a_network(host: str) -> None:
    assert not is_loopback(host)

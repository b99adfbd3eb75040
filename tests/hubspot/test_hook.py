import json

import pytest

from include.errors import ConfigError, HubSpotUnavailableError, TokenMissingError
from include.hubspot.hook import HubSpotHook
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, portals


def set_connection(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    connection = {"conn_type": "http", "password": "pat-na1-demo-acme", **fields}
    monkeypatch.setenv("AIRFLOW_CONN_HUBSPOT_ACME", json.dumps(connection))


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        pytest.param({}, "https://api.hubapi.com", id="HubSpot itself"),
        pytest.param({"host": "http://127.0.0.1:8900/"}, "http://127.0.0.1:8900", id="a URL"),
        pytest.param({"host": "proxy.local"}, "https://proxy.local", id="a host name"),
        pytest.param(
            {"host": "proxy.local", "port": 8443, "schema": "http"},
            "http://proxy.local:8443",
            id="schema, host, port",
        ),
    ],
)
def test_the_connection_says_where_hubspot_is(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], base_url: str
) -> None:
    set_connection(monkeypatch, **fields)

    assert HubSpotHook("hubspot_acme").get_conn().base_url == base_url


def test_no_connection_is_a_missing_token_and_names_where_to_put_it() -> None:
    with pytest.raises(TokenMissingError, match="Airflow connection hubspot_nobody"):
        HubSpotHook("hubspot_nobody").get_conn()


def test_a_connection_without_a_password_is_a_missing_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_connection(monkeypatch, password="")

    with pytest.raises(TokenMissingError, match="tenant acme: there is no HubSpot token"):
        HubSpotHook("hubspot_acme").get_conn()


def test_the_environments_token_is_for_the_tenant_default_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-na1-x")

    assert HubSpotHook("hubspot_default").get_conn().base_url == "https://api.hubapi.com"
    with pytest.raises(TokenMissingError):
        HubSpotHook("hubspot_nobody").get_conn()


@pytest.mark.parametrize("value", ["many", 0, -1, "", None])
def test_a_senseless_own_limit_is_refused_or_none(
    monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    set_connection(monkeypatch, extra={"requests_per_10_s": value})

    if value is None:
        assert HubSpotHook("hubspot_acme").get_conn() is not None
    else:
        with pytest.raises(ConfigError, match="extra requests_per_10_s is"):
            HubSpotHook("hubspot_acme").get_conn()


@pytest.mark.parametrize("value", ["half", 0, 1.1, -0.5, None])
def test_a_senseless_share_of_the_limit_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    set_connection(monkeypatch, extra={"rate_limit_share": value})

    with pytest.raises(ConfigError, match="extra rate_limit_share is"):
        HubSpotHook("hubspot_acme").get_conn()


def test_the_connections_extras_slow_a_client_down(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, extra={"rate_limit_share": 0.5})
    half = HubSpotHook("hubspot_acme").get_conn().requests_per_s
    set_connection(monkeypatch, extra={"rate_limit_share": 0.5, "requests_per_10_s": 20})
    capped = HubSpotHook("hubspot_acme").get_conn().requests_per_s

    assert half == pytest.approx(50 / 10.3)
    assert capped == pytest.approx(20 / 10.3)


def test_the_test_of_a_connection_tells_the_account_or_the_reason(
    serve: Serve,
) -> None:
    portal = portals.getting_started()
    serve(acme=portal)

    assert HubSpotHook("hubspot_acme").test_connection() == (
        True,
        "HubSpot account 1000001, time zone US/Eastern",
    )
    portal.tokens[0].state = "revoked"
    good, message = HubSpotHook("hubspot_acme").test_connection()
    assert not good
    assert "HubSpot refused the token (401)" in message


def test_a_client_gives_up_a_request_after_its_patience(serve: Serve) -> None:
    portal = portals.getting_started()
    portal.faults = [Fault("503", count=1_000)]
    serve(acme=portal)
    client = HubSpotHook("hubspot_acme").get_conn()
    waited: list[float] = []
    client.transport.sleep = waited.append

    with pytest.raises(HubSpotUnavailableError, match="kept answering 503"):
        client.account()

    # pauses of up to 30 s, as long as the next one fits into 180 s
    assert 150 < sum(waited) <= 180

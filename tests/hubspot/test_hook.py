import json
import os

import pytest

from include.errors import (
    ConfigError,
    HubSpotUnavailableError,
    OAuthAppError,
    TokenMalformedError,
    TokenMissingError,
)
from include.hubspot.hook import OAUTH_EXTRAS, HubSpotHook
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, portals
from tests.support.oauth import connect_app, install


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
            {"host": "localhost", "port": 8443, "schema": "http"},
            "http://localhost:8443",
            id="schema, host, port",
        ),
    ],
)
def test_the_connection_says_where_hubspot_is(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], base_url: str
) -> None:
    set_connection(monkeypatch, **fields)

    assert HubSpotHook("hubspot_acme").get_conn().transport.base_url == base_url


def test_no_connection_is_a_missing_token_and_names_where_to_put_it() -> None:
    with pytest.raises(TokenMissingError, match="Airflow connection hubspot_nobody"):
        HubSpotHook("hubspot_nobody").get_conn()


def test_a_connection_without_a_password_is_a_missing_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_connection(monkeypatch, password="")

    with pytest.raises(TokenMissingError, match="tenant acme: there is no HubSpot token"):
        HubSpotHook("hubspot_acme").get_conn()


@pytest.mark.parametrize("value", ["pat-na1-plain", '{"password": "pat-na1-plain}'])
def test_a_variable_that_is_no_connection_is_named_with_its_form(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HUBSPOT_ACME", value)

    with pytest.raises(TokenMissingError, match="AIRFLOW_CONN_HUBSPOT_ACME as") as said:
        HubSpotHook("hubspot_acme").get_conn()

    assert "pat-na1" not in str(said.value)


def test_the_environments_token_is_for_the_tenant_default_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-na1-x")

    assert HubSpotHook("hubspot_default").get_conn().transport.base_url == "https://api.hubapi.com"
    with pytest.raises(TokenMissingError):
        HubSpotHook("hubspot_nobody").get_conn()


@pytest.mark.parametrize("value", ["many", 0, -1, "", None])
def test_a_senseless_limit_is_refused_or_none(
    monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    set_connection(monkeypatch, extra={"requests_per_10_s": value})

    if value in (None, ""):  # Airflow's form keeps what was not filled in
        assert HubSpotHook("hubspot_acme").get_conn() is not None
    else:
        with pytest.raises(ConfigError, match="extra requests_per_10_s is"):
            HubSpotHook("hubspot_acme").get_conn()


@pytest.mark.parametrize("value", ["half", 0, 1.1, -0.5])
def test_a_senseless_share_of_the_limit_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    set_connection(monkeypatch, extra={"rate_limit_share": value})

    with pytest.raises(ConfigError, match="extra rate_limit_share is"):
        HubSpotHook("hubspot_acme").get_conn()


def test_the_connections_extras_slow_a_client_down(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, extra={"rate_limit_share": 0.5})
    half = HubSpotHook("hubspot_acme").get_conn().transport.limiter.requests_per_s
    set_connection(monkeypatch, extra={"rate_limit_share": 0.5, "requests_per_10_s": 20})
    capped = HubSpotHook("hubspot_acme").get_conn().transport.limiter.requests_per_s

    assert half == pytest.approx(50 / 10.3)
    assert capped == pytest.approx(20 / 10.3)


@pytest.mark.parametrize("conn_type", ["hubspot", "http"])
def test_a_connection_of_any_type_leads_to_hubspot(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    simulator = serve(acme=portals.getting_started())
    set_connection(monkeypatch, conn_type=conn_type, host=simulator.base_url)

    assert HubSpotHook("hubspot_acme").get_conn().account().portal_id == 1_000_001


def test_the_test_of_a_connection_states_account_scopes_and_quota(serve: Serve) -> None:
    portal = portals.getting_started()
    portal.quota.daily, portal.requests_per_window = 250_000, 190
    serve(acme=portal)

    good, message = HubSpotHook("hubspot_acme").test_connection()

    assert good
    assert message == (
        "HubSpot account 1000001, time zone US/Eastern. "
        "Deals, owners and associations can be read. "
        "249,998 of 250,000 API requests are left today."
    )


def test_the_test_of_a_connection_names_the_scopes_that_scans_will_miss(serve: Serve) -> None:
    portal = portals.getting_started()
    portal.tokens[0].scopes = ("crm.objects.deals.read", "crm.objects.companies.read", "tickets")
    serve(acme=portal)

    good, message = HubSpotHook("hubspot_acme").test_connection()

    assert good
    assert message.endswith(
        "Scans skip the data of these scopes, which the token lacks: crm.objects.owners.read, "
        "crm.objects.contacts.read, crm.objects.line_items.read, settings.users.read, "
        "settings.users.teams.read."
    )


def test_the_test_of_a_connection_says_why_a_token_can_not_be_used(serve: Serve) -> None:
    portal = portals.getting_started()
    portal.tokens[0].state = "revoked"
    serve(acme=portal)

    good, message = HubSpotHook("hubspot_acme").test_connection()

    assert not good
    assert message.startswith("HubSpot refused the token (401): it is wrong")
    assert message.endswith("See docs/runbook.md#token-rejected")


def test_the_test_of_a_connection_that_airflow_names_by_chance_names_no_tenant(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(acme=portals.getting_started())
    monkeypatch.setenv("AIRFLOW_CONN_XQZT7", os.environ["AIRFLOW_CONN_HUBSPOT_ACME"])

    assert HubSpotHook("XQZT7").test_connection()[0]
    assert HubSpotHook("XQZT7").tenant_id is None


APP = {"client_id": "c", "client_secret": "the-secret", "refresh_token": "the-refresh"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"extra": APP}, "has a token as well", id="both"),
        pytest.param(
            {"password": "", "extra": {"client_id": "c"}},
            "lacks client_secret, refresh_token",
            id="only the id",
        ),
        pytest.param(
            {"password": "", "extra": {**APP, "client_secret": ""}},
            "lacks client_secret",
            id="no secret",
        ),
        pytest.param({"extra": {"refresh_token": "r"}}, "lacks client_id", id="part, and a token"),
    ],
)
def test_half_an_oauth_app_or_one_beside_a_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], said: str
) -> None:
    set_connection(monkeypatch, **fields)

    with pytest.raises(OAuthAppError, match=f"tenant acme: .*but {said}"):
        HubSpotHook("hubspot_acme").get_conn()


def test_an_oauth_app_that_was_not_filled_in_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, extra=dict.fromkeys(APP, ""))

    assert HubSpotHook("hubspot_acme").get_conn().transport.base_url == "https://api.hubapi.com"


def test_neither_a_token_nor_an_oauth_app_is_a_missing_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_connection(monkeypatch, password="", extra=dict.fromkeys(APP))

    with pytest.raises(TokenMissingError, match="or an OAuth app into the connection's extras"):
        HubSpotHook("hubspot_acme").get_conn()


def test_the_test_of_a_connection_with_an_oauth_app_states_account_and_scopes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = portals.getting_started()
    simulator = serve(acme=portal)
    connect_app(monkeypatch, simulator, install(portal))

    good, message = HubSpotHook("hubspot_acme").test_connection()

    assert good
    assert message == (
        "HubSpot account 1000001, time zone US/Eastern. Deals, owners and associations can be read."
    )


def test_the_test_of_a_connection_says_why_an_oauth_app_can_not_be_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = portals.getting_started()
    simulator = serve(acme=portal)
    connect_app(monkeypatch, simulator, install(portal, state="uninstalled"))

    good, message = HubSpotHook("hubspot_acme").test_connection()

    assert not good
    assert "(400 BAD_HUB access_denied): the app is not installed in the account" in message
    assert message.endswith("See docs/runbook.md#oauth-app")


def test_a_client_gives_up_a_request_after_its_time_out(serve: Serve) -> None:
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


@pytest.mark.parametrize("before", ["", " ", "\n", "\ufeff", "\u200b\u00a0"])
@pytest.mark.parametrize(
    "after", ["\n", "\r\n", "\t", " ", "\u00a0", "\u200b", "\ufeff", "\u2028", "\u2060\n\n", "\x00"]
)
def test_white_space_around_a_token_is_taken_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    simulator = serve(acme=portals.getting_started())
    set_connection(
        monkeypatch, host=simulator.base_url, password=f"{before}pat-na1-demo-acme{after}"
    )

    assert HubSpotHook("hubspot_acme").get_conn().account().portal_id == 1_000_001


FLAWS = [
    ("pat-na1-{}\nX", "its character 27 is a line break"),
    ("pat-na1-{}\r\nX", "its character 27 is a line break"),
    ("pat-na1-{}\n x", "its character 27 is a line break"),
    ("pat-na1-{}\tX", "its character 27 is a tab"),
    ("pat na1-{}", "its character 4 is a space"),
    ("pat\u00a0na1-{}", "its character 4 is a no-break space"),
    ("pat\u200bna1-{}", "its character 4 is a character that is not ASCII"),
    ("pat\ufeffna1-{}", "its character 4 is a character that is not ASCII"),
    ("pat\x00na1-{}", "its character 4 is a control character"),
    ("pat\x1b[0m-{}", "its character 4 is a control character"),
    ("pat-\u00e9-{}", "its character 5 is a letter that is not ASCII"),
    ("p\u0430t-na1-{}", "its character 2 is a letter that is not ASCII"),
    ("pat-na1-{}\u2026", "its character 27 is a character that is not ASCII"),
    ('"pat-na1-{}"', "its character 1 is a quotation mark"),
    ("'pat-na1-{}'", "its character 1 is a quotation mark"),
    ("\u201cpat-na1-{}\u201d", "its character 1 is a character that is not ASCII"),
    ("pat-na1-{}\\n", "its character 27 is a backslash"),
    ("<pat-na1-{}>", "its character 1 is an angle bracket"),
    ("Bearer pat-na1-{}", "it begins with 'Bearer'"),
    ("bearer\tpat-na1-{}", "it begins with 'Bearer'"),
    ("Authorization: Bearer {}", "its character 15 is a space"),
]
MIDDLE = "Kq7vPzR2mW9xTb4LsX"


@pytest.mark.parametrize(("token", "said"), FLAWS)
def test_a_token_that_can_be_none_is_refused_without_being_shown(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    simulator = serve(acme=portals.getting_started())
    set_connection(monkeypatch, host=simulator.base_url, password=token.format(MIDDLE))

    with pytest.raises(TokenMalformedError) as caught:
        HubSpotHook("hubspot_acme").get_conn()

    assert said in str(caught.value)
    assert "tenant acme" in str(caught.value)
    assert MIDDLE not in str(caught.value)


@pytest.mark.parametrize("extra", OAUTH_EXTRAS)
@pytest.mark.parametrize(("secret", "said"), FLAWS)
def test_what_an_oauth_app_can_not_hold_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, extra: str, secret: str, said: str
) -> None:
    given = {"client_id": "id", "client_secret": "secret", "refresh_token": "refresh"}
    set_connection(monkeypatch, password="", extra={**given, extra: secret.format(MIDDLE)})

    with pytest.raises(OAuthAppError) as caught:
        HubSpotHook("hubspot_acme").get_conn()

    assert f"{extra} is malformed: {said}" in str(caught.value)
    assert MIDDLE not in str(caught.value)


def test_white_space_around_what_an_oauth_app_holds_is_taken_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = portals.getting_started()
    simulator = serve(acme=portal)
    app = install(portal)
    extra = {name: f"\ufeff {getattr(app, name)}\r\n" for name in OAUTH_EXTRAS}
    set_connection(monkeypatch, host=simulator.base_url, password="\n", extra=extra)

    assert HubSpotHook("hubspot_acme").get_conn().account().portal_id == 1_000_001


@pytest.mark.parametrize("text", [" ", "\n", "\u200b", "\ufeff\r\n"])
def test_nothing_but_white_space_is_a_missing_token(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    set_connection(monkeypatch, password=text)
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", text)

    for tenant in ("acme", "default"):
        with pytest.raises(TokenMissingError):
            HubSpotHook(f"hubspot_{tenant}").get_conn()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("https://user:Kq7vPzR2mW9x@api.hubapi.com", "a user or a password"),
        ("Kq7vPzR2mW9x@api.hubapi.com", "a user or a password"),
        ("https://api.hubapi.com?hapikey=Kq7vPzR2mW9x", "a query or a fragment"),
        ("https://api.hubapi.com/#Kq7vPzR2mW9x", "a query or a fragment"),
        ("https://[::1", "can't be parsed"),
        ("https://host:Kq7vPzR2mW9x", "can't be parsed"),
        ("https://", "has no host"),
        ("https://a b.example", "a space"),
        ("https://a.example\n", None),
        ("https://a.example/\u00e9", "not ASCII"),
        ("https://a.example\nX: y", "a line break"),
    ],
)
def test_a_host_that_is_no_base_url_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, host: str, said: str | None
) -> None:
    set_connection(monkeypatch, host=host)

    if said is None:
        assert HubSpotHook("hubspot_acme").get_conn().transport.base_url == host.strip()
        return
    with pytest.raises(ConfigError) as caught:
        HubSpotHook("hubspot_acme").get_conn()
    assert said in str(caught.value)
    assert "Kq7vPzR2mW9x" not in str(caught.value)

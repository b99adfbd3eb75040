"""Whole scans with an OAuth app in the connection."""

import logging

import pytest

from include.errors import OAuthAppError, PortalMismatchError
from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import OAuthApp, Portal, portals
from tests.support.oauth import connect_app, install
from tests.support.scans import BARE, PAGES, assert_equals_the_portal, run, scan, scan_row

pytestmark = pytest.mark.slow


@pytest.fixture
def portal() -> Portal:
    """The scan of it takes longer than the tokens of its app last."""
    portal = portals.generated(deals=1_500, archived=100)
    portal.latency_s = 0.5
    return portal


@pytest.fixture
def app(portal: Portal, serve: Serve, airflow_environment: pytest.MonkeyPatch) -> OAuthApp:
    app = install(portal, expires_in_s=6)
    connect_app(airflow_environment, serve(acme=portal), app)
    return app


def test_a_scan_that_outlives_its_tokens_meets_no_refusal(
    warehouse: Warehouse, portal: Portal, app: OAuthApp
) -> None:
    run(scan(objects=BARE))

    assert_equals_the_portal(warehouse, portal)
    assert app.refreshes >= 2
    assert portal.statistics.statuses[401] == 0


def test_a_scan_whose_tokens_are_revoked_again_and_again_goes_through(
    warehouse: Warehouse, portal: Portal, app: OAuthApp
) -> None:
    app.expires_in_s, portal.latency_s = 1_800, 0.0

    def revoke(portal: Portal) -> None:
        portal.tokens[-1].state = "expired"

    for nth in (2, 6, 10):
        portal.after_list_request(nth, revoke)

    run(scan(objects=BARE))

    assert_equals_the_portal(warehouse, portal)
    assert app.refreshes == 4


def test_the_tasks_of_a_scan_and_the_scans_after_it_share_a_token(
    warehouse: Warehouse, portal: Portal, app: OAuthApp
) -> None:
    app.expires_in_s, portal.latency_s = 1_800, 0.0

    run(scan("first", objects=BARE))
    run(scan("second", objects=BARE))

    assert app.refreshes == 1
    assert scan_row(warehouse, scan("second"))["state"] == "succeeded"


def test_an_app_that_is_uninstalled_meanwhile_fails_the_scan_for_a_person(
    warehouse: Warehouse, portal: Portal, app: OAuthApp
) -> None:
    app.expires_in_s, portal.latency_s = 1_800, 0.0
    what = scan(objects=BARE)
    validate_token(what)

    def uninstall(_: Portal) -> None:
        app.state = "uninstalled"

    portal.after_list_request(2, uninstall)

    with pytest.raises(OAuthAppError, match="is not installed in the account any more"):
        extract_deals(what, PAGES)

    assert scan_row(warehouse, what)["state"] == "failed"


def test_an_app_of_another_account_writes_nothing(
    warehouse: Warehouse,
    portal: Portal,
    app: OAuthApp,
    serve: Serve,
    airflow_environment: pytest.MonkeyPatch,
) -> None:
    app.expires_in_s, portal.latency_s = 1_800, 0.0
    run(scan("first", objects=BARE))
    other = portals.getting_started()
    connect_app(airflow_environment, serve(other=other), install(other, refresh_token="other"))

    with pytest.raises(PortalMismatchError):
        run(scan("second", objects=BARE))

    assert_equals_the_portal(warehouse, portal)


def test_no_log_line_of_a_scan_holds_a_secret(
    warehouse: Warehouse, portal: Portal, app: OAuthApp, caplog: pytest.LogCaptureFixture
) -> None:
    app.expires_in_s, portal.latency_s = 1_800, 0.0
    caplog.set_level(logging.DEBUG)

    run(scan(objects=BARE))

    secrets = [app.client_secret, app.refresh_token]
    secrets += [token.text for token in portal.tokens if token.kind == "oauth"]
    assert len(secrets) == 3
    assert [secret for secret in secrets if secret in caplog.text] == []

"""A HubSpot account that runs on 127.0.0.1. README.md says what it reproduces, and what not."""

from tests.hubspot_simulator import portals
from tests.hubspot_simulator.faults import Fault
from tests.hubspot_simulator.oauth_app import OAuthApp
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.rate_limits import Quota
from tests.hubspot_simulator.server import HubSpotSimulator
from tests.hubspot_simulator.tokens import ALL_SCOPES, Token

__all__ = [
    "ALL_SCOPES",
    "Fault",
    "HubSpotSimulator",
    "OAuthApp",
    "Portal",
    "Quota",
    "Token",
    "portals",
]

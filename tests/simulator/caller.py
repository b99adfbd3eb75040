"""A client that judges nothing: what comes back is for the test to look at."""

from typing import Any

import requests

from tests.hubspot_simulator import HubSpotSimulator

TOKEN = "pat-na1-generated"
DEALS = "/crm/v3/objects/deals"


class Caller:
    """Sends requests to the simulator, on one kept connection."""

    def __init__(self, simulator: HubSpotSimulator) -> None:
        self.base_url = simulator.base_url
        self.session = requests.Session()

    def send(
        self, method: str, path: str, *, token: str = TOKEN, timeout: float = 10, json: Any = None
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return self.session.request(
            method, self.base_url + path, headers=headers, timeout=timeout, json=json
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        return self.send("POST", path, json=body, **options)

    def form(self, path: str, fields: dict[str, str]) -> requests.Response:
        """Send a form, as OAuth has it: without a token."""
        return self.session.post(self.base_url + path, data=fields, timeout=10)

    def control(self, portal_id: int, what: str, body: Any = None) -> requests.Response:
        method = "GET" if body is None else "POST"
        url = f"{self.base_url}/_simulator/portals/{portal_id}/{what}"
        return self.session.request(method, url, json=body, timeout=10)

    def pages(self, query: str = "", path: str = DEALS) -> list[list[dict[str, Any]]]:
        """Read every page of a list of deals."""
        found, after = [], ""
        while True:
            answer = self.get(f"{path}?limit=100{query}{after}").json()
            found.append(answer["results"])
            if "paging" not in answer:
                return found
            after = f"&after={answer['paging']['next']['after']}"

    def deals(self, query: str = "") -> list[dict[str, Any]]:
        return [deal for page in self.pages(query) for deal in page]

    def search(self, **body: Any) -> requests.Response:
        return self.post(f"{DEALS}/search", body)

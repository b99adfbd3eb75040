"""Assets `hubspot://<account>/<object>` as datasets of OpenLineage."""

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset


def checked_uri(uri: SplitResult) -> SplitResult:
    """Return the URI. Raises ValueError unless it names an account and an object."""
    if not uri.netloc or uri.path.count("/") != 1 or uri.path == "/":
        raise ValueError("write it as hubspot://<account id>/<object>")
    return uri


def dataset_of(asset: Any, lineage_context: Any) -> "Dataset":
    """Return the dataset of an asset, e.g. `deals` in the namespace hubspot://1234567."""
    from openlineage.client.event_v2 import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"hubspot://{uri.netloc}", name=uri.path.removeprefix("/"))

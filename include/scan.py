"""A scan: one run of one tenant's DAG."""

import uuid
from dataclasses import dataclass

from include.tenants import Tenant

SCAN_ID_NAMESPACE = uuid.UUID("5b3f0f60-6d2e-5f0a-9a44-7c2b6f0e9d11")


@dataclass(frozen=True)
class Scan:
    """What identifies a scan. Its id is the same for every try and after a clear."""

    tenant: Tenant
    run_id: str
    mode: str = "full"

    @property
    def id(self) -> str:
        return scan_id(self.tenant.dag_id, self.run_id)


def scan_id(dag_id: str, run_id: str) -> str:
    """Return the scan's id, the same for every try of a run: UUIDv5 of DAG id and run id."""
    return str(uuid.uuid5(SCAN_ID_NAMESPACE, f"{dag_id}/{run_id}"))

"""A scan: one run of one tenant's DAG."""

from dataclasses import dataclass

from include.tenants import Tenant, scan_id


@dataclass(frozen=True)
class Scan:
    """What identifies a scan. Its id is the same for every try and after a clear."""

    tenant: Tenant
    run_id: str
    mode: str = "full"

    @property
    def id(self) -> str:
        return scan_id(self.tenant.dag_id, self.run_id)

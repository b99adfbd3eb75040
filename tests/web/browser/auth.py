"""Airflow's own auth manager, with one user who may see a single DAG."""

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

#: Sees one DAG only, and may do with it what he likes.
LIMITED_USER = "limited"
LIMITED_TO = "hubspot_deals__globex"


class DagByDagAuthManager(SimpleAuthManager):
    """Roles are global in the simple auth manager; this one knows of DAGs for `LIMITED_USER`."""

    def is_authorized_dag(
        self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None
    ) -> bool:
        if user.username == LIMITED_USER and getattr(details, "id", None) != LIMITED_TO:
            return False
        return super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )

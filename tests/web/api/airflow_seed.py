"""`python -m tests.web.api.airflow_seed`: an Airflow database with DAGs, users and a connection."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PASSWORD = "correct horse"
_ACME = ("DAG:hubspot_deals__acme", "DAG Run:hubspot_deals__acme")
#: User of FAB → what he may do with which resources.
PERMISSIONS = {
    "acme_reader": [("can_read", resource) for resource in _ACME],
    "acme_user": [
        (action, resource)
        for action in ("can_read", "can_edit", "can_create")
        for resource in _ACME
    ],
    # may see the DAG, but none of its runs
    "acme_dag_only": [("can_read", "DAG:hubspot_deals__acme")],
    "nobody": [],
}


def main() -> None:
    from airflow.utils.db import initdb

    initdb()
    load_dags()
    add_connection()
    make_users()


def load_dags() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(ROOT / "dags", bundle_path=ROOT / "dags", bundle_name="dags-folder")
    if bag.import_errors:
        sys.exit(str(bag.import_errors))
    sync_bag_to_db(bag, "dags-folder", None)
    awake = update(DagModel).where(DagModel.dag_id != "hubspot_deals__paused")
    with create_session() as session:
        session.execute(awake.values(is_paused=False))


def add_connection() -> None:
    """Put the warehouse's connection into Airflow's database, where one server looks for it."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="warehouse", uri=os.environ["WAREHOUSE_URL"]))


def make_users() -> None:
    from airflow.providers.fab.www.app import create_app

    app = create_app(enable_plugins=False)
    with app.app_context():
        security = app.appbuilder.sm
        security.sync_roles()
        for name, permissions in PERMISSIONS.items():
            role = security.add_role(name)
            for action, resource in permissions:
                security.add_permission_to_role(role, security.create_permission(action, resource))
            security.add_user(name, name, name, f"{name}@example.com", role, PASSWORD)
        admin = security.find_role("Admin")
        security.add_user("admin", "admin", "admin", "admin@example.com", admin, PASSWORD)


if __name__ == "__main__":
    main()

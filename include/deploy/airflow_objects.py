"""What an Airflow needs in its own database before its first run: administrator, connections."""

import json
from typing import Any

from sqlalchemy import select

ADMIN = "admin"


def save_connection(connection_id: str, fields: dict[str, Any]) -> None:
    """Make a connection, or give it these values; its password is encrypted by the Fernet key."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.execute(Connection.__table__.delete().where(Connection.conn_id == connection_id))
        session.add(Connection(conn_id=connection_id, **fields))


def save_warehouse_connection(url: str) -> None:
    from airflow.models import Connection

    parsed = Connection(uri=url)
    save_connection(
        "warehouse",
        {
            "conn_type": "postgres",
            "host": parsed.host,
            "port": parsed.port,
            "login": parsed.login,
            "password": parsed.password,
            "schema": parsed.schema,
            "extra": json.dumps(parsed.extra_dejson),
        },
    )


def connection_exists(connection_id: str) -> bool:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        found = select(Connection.conn_id).where(Connection.conn_id == connection_id)
        return session.scalar(found) is not None


def save_administrator(password: str) -> None:
    """Make the user `admin`, or give it this password. Roles are FAB's."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        if user := manager.find_user(username=ADMIN):
            manager.reset_password(user.id, password)
            return
        manager.add_user(
            ADMIN, "Airflow", "Administrator", "admin@example.com", manager.find_role("Admin"),
            password,
        )  # fmt: skip

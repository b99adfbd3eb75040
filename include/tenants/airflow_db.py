"""Writes pools and connections into Airflow's metadata database. Imports Airflow's models."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.pool import Pool
from airflow.sdk.exceptions import AirflowException
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from include.errors import TenantCommandError


def make_pools(pools: Mapping[str, int]) -> Iterator[str]:
    """Create missing pools and set the slots of the others. Deletes none.

    Yields a line for each pool. Raises TenantCommandError.
    """
    with _metadata() as session:
        for name, slots in pools.items():
            found = Pool.get_pool(name, session=session)
            if found is None:
                description = "Created by python -m include.tenants pools"
                Pool.create_or_update_pool(name, slots, description, False, session=session)
                yield f"pool {name}: created with {slots} slots"
                continue
            before, found.slots = found.slots, slots
            changed = f"had {before} slots, now {slots}"
            yield f"pool {name}: {changed if before != slots else f'has {slots} slots'}"


def save_connection(
    conn_id: str, conn_type: str, fields: Mapping[str, Any], *, replace: bool
) -> bool:
    """Store a connection, encrypted. False: it exists and was not changed.

    Raises TenantCommandError if nothing was stored.

    :param conn_type: for a new connection.
    :param fields: attributes of Airflow's model; other attributes are not changed.
    :param replace: change an existing connection.
    """
    if not conf.get("core", "fernet_key", fallback=""):
        raise TenantCommandError(
            "Airflow has no Fernet key, so it would store the token unencrypted.",
            remedy="Set AIRFLOW__CORE__FERNET_KEY, with the same value for all components.",
        )
    with _metadata() as session:
        connection = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        if connection is not None and not replace:
            return False
        connection = connection or Connection(conn_id=conn_id, conn_type=conn_type)
        try:
            for name, value in fields.items():
                setattr(connection, name, value)
        except AirflowException:
            raise TenantCommandError(
                "Airflow's Fernet key is invalid, so the token was not stored.",
                remedy="Correct AIRFLOW__CORE__FERNET_KEY.",
            ) from None
        session.add(connection)
        return True


@contextmanager
def _metadata() -> Iterator[Session]:
    try:
        with create_session() as session:
            yield session
    except SQLAlchemyError as exc:
        # without the text, which can quote the statement's values
        raise TenantCommandError(
            f"Airflow's metadata database can't be used ({type(exc).__name__}).",
            remedy="Run `airflow db migrate`, then run this command with Airflow's settings.",
        ) from None

"""What commands write into Airflow's metadata database, by Airflow's own models. Imported late."""

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
    """Create the pools that are missing, set the slots of the others, delete none.

    Yields what was done. Raises TenantCommandError.
    """
    with _metadata() as session:
        for name, slots in pools.items():
            found = Pool.get_pool(name, session=session)
            if found is None:
                made_by = "Made by python -m include.tenants pools"
                Pool.create_or_update_pool(name, slots, made_by, False, session=session)
                yield f"pool {name}: created with {slots} slots"
                continue
            before, found.slots = found.slots, slots
            changed = f"had {before} slots, now {slots}"
            yield f"pool {name}: {changed if before != slots else f'has {slots} slots'}"


def save_connection(
    conn_id: str, conn_type: str, fields: Mapping[str, Any], *, replace: bool
) -> bool:
    """Store a connection, encrypted; False: one is there, and was left as it is.

    Raises TenantCommandError; nothing is stored then.

    :param conn_type: of a new one.
    :param fields: attributes of Airflow's model. Of one that is there, the others stay.
    :param replace: change one that is there.
    """
    if not conf.get("core", "fernet_key", fallback=""):
        raise TenantCommandError(
            "Airflow has no Fernet key: the token would be stored as it is.",
            remedy="Set AIRFLOW__CORE__FERNET_KEY, the same for every component.",
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
                "Airflow's Fernet key can't be used: the token was not stored.",
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
        # its text may hold the values of the statement
        raise TenantCommandError(
            f"Airflow's metadata database can't be used ({type(exc).__name__}).",
            remedy="Run the command where Airflow's settings are, after `airflow db migrate`.",
        ) from None

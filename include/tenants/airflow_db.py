"""What commands write into Airflow's metadata database, by Airflow's own models. Imported late."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.pool import Pool
from airflow.sdk.exceptions import AirflowException
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from include.errors import TenantCommandError


def make_pools(pools: Mapping[str, int]) -> dict[str, str]:
    """Create the pools that are missing, set the slots of the others, delete none.

    Returns name → what was done. Raises TenantCommandError.
    """
    with _metadata() as session:
        return {name: _make_pool(name, slots, session) for name, slots in pools.items()}


def save_connection(conn_id: str, token: str, base_url: str | None, *, replace: bool) -> None:
    """Store a tenant's connection, encrypted. Raises TenantCommandError; nothing is stored then.

    :param replace: take the place of one that is there.
    """
    if not conf.get("core", "fernet_key", fallback=""):
        raise TenantCommandError(
            "Airflow has no Fernet key: the token would be stored as it is.",
            remedy="Set AIRFLOW__CORE__FERNET_KEY, the same for every component.",
        )
    with _metadata() as session:
        found = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        if found is not None and not replace:
            raise TenantCommandError(
                f"the connection {conn_id} is there already.",
                remedy="Leave out --save-connection to use it, or replace it with --force.",
            )
        connection = found or Connection(conn_id=conn_id, conn_type="hubspot", host=base_url)
        if base_url:
            connection.host = base_url
        try:
            connection.set_password(token)
        except AirflowException:
            raise TenantCommandError(
                "Airflow's Fernet key can't be used: the token was not stored.",
                remedy="Correct AIRFLOW__CORE__FERNET_KEY.",
            ) from None
        session.add(connection)


def _make_pool(name: str, slots: int, session: Session) -> str:
    found = Pool.get_pool(name, session=session)
    if found is None:
        Pool.create_or_update_pool(
            name, slots, "Made by python -m include.tenants pools", False, session=session
        )
        return f"created with {slots} slots"
    before, found.slots = found.slots, slots
    return f"has {slots} slots" if before == slots else f"had {before} slots, now {slots}"


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

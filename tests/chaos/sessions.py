"""A victim's sessions in PostgreSQL, told from all others by the ports they come from."""

import psutil  # type: ignore[import-untyped]
import psycopg

from tests.chaos.victims import Victim


def sever(connection: psycopg.Connection, victim: Victim, *, only_locks: bool) -> int:
    """End the sessions of a victim, or the ones that hold advisory locks; return how many."""
    ports = [
        open_.laddr.port
        for open_ in psutil.Process(victim.pid).net_connections(kind="tcp")
        if open_.raddr
    ]
    ended = connection.execute(
        """
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where client_port = any(%(ports)s) and pid <> pg_backend_pid()
          and (not %(only_locks)s
               or pid in (select pid from pg_locks where locktype = 'advisory' and granted))
        """,
        {"ports": ports, "only_locks": only_locks},
    ).fetchall()
    return len(ended)

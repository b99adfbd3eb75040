"""The sessions of a scan's tries in PostgreSQL, which are named after it."""

import psycopg


def sever(connection: psycopg.Connection, scan_id: str) -> int:
    """End them, and return how many there were. Through a pooler: those that it used last."""
    ended = connection.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where starts_with(application_name, %s) and pid <> pg_backend_pid()",
        [f"hubspot_deals/{scan_id}/"],
    ).fetchall()
    return len(ended)

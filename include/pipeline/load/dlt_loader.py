"""Loading a batch of records with dlt: Arrow → parquet → COPY (ADBC) → MERGE.

With this configuration, no row is lost if tenants load at the same time or the process is killed:
docs/adr/0001-loading-with-dlt.md
"""

import gc
import os
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import adbc_driver_manager
import psycopg2
import pyarrow as pa

from include.errors import HubSpotDealsError, LoadError
from include.pipeline.load.arrow import Shape, within_bounds
from include.warehouse.connection import Warehouse
from include.warehouse.errors import is_of_values, warehouse_error
from include.warehouse.fencing import TenantLease

# dlt reads its settings from the environment. Its Airflow and Google providers would ask Airflow
# for a Variable some 300 times before the first row.
os.environ.update(
    {
        "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
        "PROVIDERS__ENABLE_GOOGLE_SECRETS": "false",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        # dlt warns at every load that `properties` is text in Arrow and json in PostgreSQL
        "RUNTIME__LOG_LEVEL": "ERROR",
        # Scans resume from their own tables, not from dlt's state in the warehouse.
        "RESTORE_FROM_DESTINATION": "false",
        # only this process reads the files, so compression costs more than it saves
        "DATA_WRITER__COMPRESSION": "none",
        "LOAD__DELETE_COMPLETED_JOBS": "true",
        # Airflow retries, from the last checkpoint
        "LOAD__RAISE_ON_MAX_RETRIES": "1",
        "LOAD__WORKERS": "1",
        "NORMALIZE__WORKERS": "1",
    }
)

import dlt
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations.impl.postgres.configuration import PostgresCredentials
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.pipeline.exceptions import PipelineStepFailed

DEFAULT_PIPELINE_NAME = "hubspot_deals"
#: One dlt source, and so one dlt schema, for all tenants.
SOURCE_NAME = "hubspot_deals"
ROWS_AT_ONCE = 2_000


def _roll_back(self: Psycopg2SqlClient) -> None:
    self.native_connection.rollback()
    self.native_connection.autocommit = True


# dlt would reset the session's settings. Behind a pooler, that sets application_name to that of
# the session's first client, and fences compare application_name.
Psycopg2SqlClient._reset_connection = _roll_back  # type: ignore[method-assign]

_url_of = PostgresCredentials.to_native_representation


def _url(self: PostgresCredentials) -> str:
    address, mark, parameters = _url_of(self).rpartition("?")
    return f"{address}{mark}{parameters.replace('+', '%20')}"


# dlt encodes a space in a parameter as a plus sign, which libpq reads as a plus sign.
PostgresCredentials.to_native_representation = _url  # type: ignore[method-assign,assignment]


class _Postgres(dlt.destinations.postgres):
    """dlt's PostgreSQL, whose capabilities are resolved once.

    dlt asks for them 20 times in each load, and resolves the whole configuration each time: a
    seventh of a load's CPU.
    """

    @cached_property
    def _resolved(self) -> DestinationCapabilitiesContext:
        return super().capabilities()

    def capabilities(
        self, config: object = None, naming: object = None
    ) -> DestinationCapabilitiesContext:
        # A copy, because dlt changes it. dlt's default naming convention adjusts nothing.
        return self._resolved.copy()


class DltLoader:
    """Loads batches of one tenant's records; each `load` is one dlt load package.

    A context manager with its own working directory for dlt, which it deletes: in the directory of
    a killed process, dlt would continue that process's load.

    :param lease: the tenant's lease, which also assigns staging slots.
    """

    def __init__(self, warehouse: Warehouse, tenant_id: str, lease: TenantLease) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._lease = lease
        self._working_directory = tempfile.TemporaryDirectory(prefix="hubspot_deals_dlt_")
        self._pipelines: dict[int, dlt.Pipeline] = {}

    def __enter__(self) -> "DltLoader":
        return self

    def __exit__(self, *raised: object) -> None:
        self._working_directory.cleanup()

    def load(self, table: pa.Table, shape: Shape, *, rewrite: bool = False) -> None:
        """Upsert *table* into the shape's table; unchanged rows are only written if *rewrite*.

        Raises a HubSpotDealsError if not all rows were loaded. Can be repeated.
        """
        if not table.num_rows:
            return
        with self._lease.staging_slot() as slot:
            try:
                self._run(slot, table, shape, rewrite=rewrite)
            except PipelineStepFailed as exc:
                if not is_of_values(_root(exc)):
                    raise self._as_error(exc) from exc
                # otherwise dlt would load the refused table again first
                self._pipeline(slot).abort_packages()
                try:
                    self._run(slot, within_bounds(table), shape, rewrite=rewrite)
                except PipelineStepFailed as again:
                    raise self._as_error(again) from again

    def _run(self, slot: int, table: pa.Table, shape: Shape, *, rewrite: bool) -> None:
        pipeline = self._pipeline(slot)
        pipeline.run(_source(table, shape, rewrite=rewrite)).raise_on_failed_jobs()
        # Otherwise memory grows with each load: dlt leaves reference cycles, and Arrow keeps freed
        # memory.
        gc.collect()
        pa.default_memory_pool().release_unused()

    def _pipeline(self, slot: int) -> dlt.Pipeline:
        """Return the pipeline that loads through a slot, which is nearly always the same one."""
        if slot not in self._pipelines:
            name = os.environ.get("DLT_PIPELINE_NAME") or DEFAULT_PIPELINE_NAME
            self._pipelines[slot] = dlt.pipeline(
                f"{name}__{self._tenant_id}",
                pipelines_dir=str(Path(self._working_directory.name, str(slot))),
                dataset_name=self._warehouse.schema,
                destination=_Postgres(
                    self._warehouse.url,
                    destination_name="postgres",
                    staging_dataset_name_layout=f"%s_stg_slot{slot}",
                ),
            )
        return self._pipelines[slot]

    def _as_error(self, exc: PipelineStepFailed) -> HubSpotDealsError:
        root = _root(exc)
        # Not the original message: PostgreSQL quotes values in it. The log has it as the cause.
        if isinstance(root, psycopg2.Error | adbc_driver_manager.Error) and (
            error := warehouse_error(root)
        ):
            return error
        sqlstate = getattr(root, "pgcode", None) or getattr(root, "sqlstate", None)
        return LoadError(
            f"dlt's step {exc.step!r} failed with {type(root).__name__}"
            f"{f' (SQLSTATE {sqlstate})' if sqlstate else ''}.",
            tenant_id=self._tenant_id,
            remedy="It loads the whole chunk again.",
        )


def _root(exc: BaseException) -> BaseException:
    while (cause := exc.__cause__ or exc.__context__) is not None:
        exc = cause
    return exc


@dlt.source(name=SOURCE_NAME)
def _source(table: pa.Table, shape: Shape, *, rewrite: bool) -> Iterator[object]:
    @dlt.resource(
        name=shape.table,
        primary_key=shape.key,
        write_disposition={
            "disposition": "merge",
            "strategy": "upsert",
            # Not by `updated_at`: calculated properties change without it.
            "skip_unchanged_rows": not rewrite,
            "row_version_column_name": "_content_hash",
        },
        columns={"properties": {"data_type": "json"}},
        file_format="parquet",
    )
    def records() -> Iterator[pa.Table]:
        # in batches, because dlt writes and reads one at a time: less memory
        yield from table.to_batches(ROWS_AT_ONCE)

    yield records

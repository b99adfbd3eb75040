"""Loading a batch of records with dlt: Arrow → parquet → COPY (ADBC) → MERGE.

The configuration is the one that loses nothing when tenants load at once or the process is
killed; docs/adr/0001-loading-with-dlt.md has the reasons and the figures.
"""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psycopg2
import psycopg2.errors
import pyarrow as pa

from include.errors import HubSpotDealsError, LoadError
from include.extract.columns import Shape
from include.warehouse.connection import OUTDATED_ATTEMPT, Warehouse, as_warehouse_error
from include.warehouse.locks import TenantLock

# dlt reads its settings from the environment. Its Airflow and Google providers would ask Airflow
# for a Variable some 300 times before the first row.
os.environ.update(
    {
        "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
        "PROVIDERS__ENABLE_GOOGLE_SECRETS": "false",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        # dlt warns at every load that `properties` is text in Arrow and json in PostgreSQL
        "RUNTIME__LOG_LEVEL": "ERROR",
        # What loads leave in the warehouse is not needed to go on: the scans' tables are.
        "RESTORE_FROM_DESTINATION": "false",
        # Nobody but the same process reads the files: to compress them would cost more
        "DATA_WRITER__COMPRESSION": "none",
        "LOAD__DELETE_COMPLETED_JOBS": "true",
        # Airflow retries, from the last checkpoint
        "LOAD__RAISE_ON_MAX_RETRIES": "1",
        "LOAD__WORKERS": "1",
        "NORMALIZE__WORKERS": "1",
    }
)

import dlt
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.pipeline.exceptions import PipelineStepFailed

DEFAULT_PIPELINE_NAME = "hubspot_deals"
#: One dlt source, and so one dlt schema, for all tenants.
SOURCE_NAME = "hubspot_deals"
ROWS_AT_ONCE = 2_000


def _roll_back(self: Psycopg2SqlClient) -> None:
    self.native_connection.rollback()
    self.native_connection.autocommit = True


# dlt would have the session reset all that was set. Behind a pooler that gives it the name of
# whoever was the session's first client, and the fences go by names.
Psycopg2SqlClient._reset_connection = _roll_back  # type: ignore[method-assign]


class Loader:
    """Loads batches of one tenant's records; each `load` is one dlt load package.

    A context manager: dlt's working directory is this loader's own and goes with it. One that a
    killed load left behind would be taken up again half done.

    :param lock: the tenant's lock, which also gives out staging slots.
    """

    def __init__(self, warehouse: Warehouse, tenant_id: str, lock: TenantLock) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._lock = lock
        self._working_directory = tempfile.TemporaryDirectory(prefix="hubspot_deals_dlt_")
        self._pipelines: dict[int, dlt.Pipeline] = {}

    def __enter__(self) -> "Loader":
        # A quarter of a million objects that imports made and that stay: not to be looked through
        # again each time garbage is collected
        gc.freeze()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        gc.unfreeze()
        self._working_directory.cleanup()

    def load(self, table: pa.Table, shape: Shape, *, rewrite: bool = False) -> None:
        """Upsert *table* into the shape's table: rows whose content is the same are left alone,
        unless *rewrite* says otherwise.

        All of it is there afterwards, or a HubSpotDealsError says why not; the same table may be
        loaded again.
        """
        if not table.num_rows:
            return
        with self._lock.staging_slot() as slot:
            try:
                pipeline = self._pipeline(slot)
                pipeline.run(_source(table, shape, rewrite=rewrite)).raise_on_failed_jobs()
                # Or each load keeps a little: what dlt leaves behind refers to itself, which is
                # noticed late; and what Arrow has to spare nobody else can use.
                gc.collect()
                pa.default_memory_pool().release_unused()
            except PipelineStepFailed as exc:
                raise self._as_error(exc) from exc

    def _pipeline(self, slot: int) -> dlt.Pipeline:
        """Return the pipeline that loads through a slot: nearly always it is the same one."""
        if slot not in self._pipelines:
            name = os.environ.get("DLT_PIPELINE_NAME") or DEFAULT_PIPELINE_NAME
            self._pipelines[slot] = dlt.pipeline(
                f"{name}__{self._tenant_id}",
                pipelines_dir=str(Path(self._working_directory.name, str(slot))),
                dataset_name=self._warehouse.schema,
                destination=dlt.destinations.postgres(
                    self._warehouse.url, staging_dataset_name_layout=f"%s_stg_slot{slot}"
                ),
            )
        return self._pipelines[slot]

    def _as_error(self, exc: PipelineStepFailed) -> HubSpotDealsError:
        root: BaseException = exc
        while (cause := root.__cause__ or root.__context__) is not None:
            root = cause
        if isinstance(root, psycopg2.OperationalError | psycopg2.errors.InsufficientPrivilege):
            return as_warehouse_error(root, self._tenant_id)
        if isinstance(root, Exception) and getattr(root, "sqlstate", None) == OUTDATED_ATTEMPT:
            return as_warehouse_error(root, self._tenant_id)
        # Not the original message: PostgreSQL quotes values in it. The log has it as the cause.
        sqlstate = getattr(root, "pgcode", None) or getattr(root, "sqlstate", None)
        return LoadError(
            f"dlt's step {exc.step!r} failed with {type(root).__name__}"
            f"{f' (SQLSTATE {sqlstate})' if sqlstate else ''}.",
            tenant_id=self._tenant_id,
            remedy="The task is retried; nothing of this chunk is half loaded.",
        )


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
        # in pieces, as it is written and read again: less at once in memory
        yield from table.to_batches(ROWS_AT_ONCE)

    yield records

"""What tasks import, imported once by a Celery worker: each task is forked from it.

Celery does so where `[celery] extra_celery_config` has "imports", as in docker-compose.yaml. It
saves CPU: docs/performance.md#many-tenants-at-once. Threads don't survive a fork: these modules
start none, given JE_ARROW_MALLOC_CONF=background_thread:false.
"""

# ruff: noqa: F401, TID253
import adbc_driver_postgresql.dbapi
import airflow.dag_processing.dagbag
import airflow.providers.postgres.hooks.postgres
import airflow.sdk.execution_time.task_runner

import include.alerts.callbacks
import include.alerts.incidents
import include.dag
import include.pipeline.check_quality
import include.pipeline.extract_deals
import include.pipeline.load.arrow
import include.pipeline.validate_token

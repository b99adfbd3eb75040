"""The modules of tasks, which a Celery worker imports once, before it forks its tasks.

docker-compose.yaml sets "imports" in `[celery] extra_celery_config`. It saves CPU:
docs/performance.md#many-tenants-at-once. Threads don't survive a fork; these modules start none
if JE_ARROW_MALLOC_CONF=background_thread:false.
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

"""Extractions as jobs of `tests.bench.child`.

Nothing but the standard library is imported at the top: what a job's module brings along is there
before counting begins, and so would not be counted.
"""

import sys
from collections.abc import Callable
from typing import Any

#: What a task process has to import itself.
_TO_BE_COUNTED = ("include", "dlt", "psycopg", "requests", "pyarrow")


def extract(**ask: Any) -> Callable[[], Any]:
    """Job: the extraction of a scan whose `validate_token` has run."""
    from include.pipeline.extract_deals import extract_deals
    from tests.bench.ask import Ask

    scan = Ask(**ask).scan
    return lambda: extract_deals(scan, scan.tenant.checkpoint_pages)


def extract_imports_included(**ask: Any) -> Callable[[], Any]:
    """Job: the same, counted from where a task process is when it begins its task.

    Airflow's own modules are there by then; the package's, and what they import, are not.
    """
    import airflow.sdk.execution_time.task_runner  # noqa: F401

    if early := [name for name in _TO_BE_COUNTED if name in sys.modules]:
        raise RuntimeError(f"imported before counting began: {', '.join(early)}")

    def work() -> Any:
        return extract(**ask)()

    return work

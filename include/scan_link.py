"""The link from a task to the status page of its scan."""

from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.configuration import conf

from include.scan import SCAN_PAGE, scan_id


class ScanLink(BaseOperatorLink):
    """Shown by Airflow among a task's extra links.

    Airflow asks a task's links when the task has ended. `show` does it when the task begins: a
    scan that runs for hours is what one wants to look at.
    """

    name = "Status of this scan"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return page_of(ti_key.dag_id, ti_key.run_id)

    def show(self, context: Any) -> None:
        ti = context["ti"]
        ti.xcom_push(self.xcom_key, page_of(ti.dag_id, ti.run_id))


def page_of(dag_id: str, run_id: str) -> str:
    """Return the path of a scan's page, with the prefix that Airflow is served below, if any."""
    prefix = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{prefix}{SCAN_PAGE}{scan_id(dag_id, run_id)}"

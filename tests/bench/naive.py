"""A plain dlt pipeline: it yields the pages' dicts, and dlt does the rest with its defaults."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from tests.bench.floor import read_pages


def load(
    base_url: str, token: str, names: str, database_url: str, dataset: str
) -> Callable[[], Any]:
    """Job: load all deals into a dataset of dlt's own making.

    Reading is the floor's. Two things are switched off, or it would look worse than dlt is: sending
    telemetry, and asking Airflow for a Variable some 300 times.
    """
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
        "PROVIDERS__ENABLE_GOOGLE_SECRETS": "false",
    }
    import dlt

    @dlt.resource(name="deals", primary_key="id", write_disposition="merge")
    def deals() -> Iterator[list[dict[str, Any]]]:
        yield from read_pages(base_url, token, names)

    def work() -> str:
        pipeline = dlt.pipeline(
            "naive",
            pipelines_dir=os.environ["TMPDIR"],
            dataset_name=dataset,
            destination=dlt.destinations.postgres(database_url),
        )
        return str(pipeline.run(deals()))

    return work

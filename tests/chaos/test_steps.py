"""dlt's working directory shows where a load is."""

from pathlib import Path

import pytest

from tests.chaos.steps import COPY, EXTRACT, MERGE, NORMALIZE, progress_of

PIPELINE = "hubspot_deals_dlt_x/3/hubspot_deals__acme"


@pytest.mark.parametrize(
    ("files", "step"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param(["state.json", "load/.version", "normalize/.version"], None, id="idle"),
        pytest.param(["normalize/extracted/2/new_jobs/deals.0.parquet"], EXTRACT, id="extracted"),
        pytest.param(["load/new/2/new_jobs/deals.0.parquet"], NORMALIZE, id="being normalized"),
        pytest.param(["load/normalized/2/new_jobs/deals.0.parquet"], COPY, id="normalized"),
        pytest.param(["load/normalized/2/started_jobs/deals.0.parquet"], COPY, id="copying"),
        pytest.param(
            [
                "load/normalized/2/completed_jobs/deals.0.parquet",
                "load/normalized/2/started_jobs/deals.1.sql",
            ],
            MERGE,
            id="merging",
        ),
    ],
)
def test_a_load_is_in_the_step_that_its_files_have_reached(
    tmp_path: Path, files: list[str], step: str | None
) -> None:
    for file in [*files, "load/loaded/1/completed_jobs/deals.1.sql"]:
        path = tmp_path / PIPELINE / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    progress = progress_of(tmp_path)

    assert progress.step == step
    assert progress.loaded == 1

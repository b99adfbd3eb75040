"""Shows every invalid entry of the tenants file as an import error in the Airflow UI.

hubspot_deals.py builds the DAGs of the valid entries and ignores the others.
"""

import logging
from pathlib import Path

from include.errors import TenantsFileError
from include.tenants import load_tenants
from include.tenants.shards import crowded_files, problem_with_shards

log = logging.getLogger(__name__)

folder = Path(__file__).parent
tenants = load_tenants()
for crowded in crowded_files(folder, tenants.enabled):
    log.warning("%s", crowded)
problems = [*tenants.problems, *filter(None, [problem_with_shards(folder)])]
if problems:
    raise TenantsFileError("\n".join(problem.what for problem in problems))

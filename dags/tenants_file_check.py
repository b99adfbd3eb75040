"""Shows every bad entry of the tenants file as an import error in the Airflow UI.

hubspot_deals.py builds the DAGs of the good entries and passes over the others; without this file
nobody would be told.
"""

from include.errors import TenantsFileError
from include.tenants import load_tenants

if problems := load_tenants().problems:
    raise TenantsFileError("\n".join(problem.what for problem in problems))

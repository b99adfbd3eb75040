"""An Airflow provider, which adds the connection type `HubSpot`.

Airflow finds providers by the metadata of installed packages. This package is not installed:
PYTHONPATH contains the directory `site`, which has only such metadata.
"""

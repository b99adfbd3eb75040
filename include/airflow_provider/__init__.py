"""What makes `HubSpot` a connection type of Airflow's connection form.

Airflow finds providers by the metadata of installed packages. Nothing is installed here: the
directory `site`, put on PYTHONPATH, holds such metadata and nothing else.
"""

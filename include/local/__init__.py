"""The local stack: an embedded PostgreSQL and Airflow as plain processes, for `make demo` and tests.

Nothing of the pipeline depends on it.
"""

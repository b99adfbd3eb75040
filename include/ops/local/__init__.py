"""The local stack behind `make demo` and `make run`: PostgreSQL and Airflow without containers.

Nothing of the pipeline depends on it.
"""

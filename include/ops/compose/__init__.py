"""Commands of docker-compose.yaml's containers besides Airflow: secrets, init, health."""

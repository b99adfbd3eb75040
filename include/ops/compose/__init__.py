"""What the containers of docker-compose.yaml run besides Airflow: secrets, init, health, the demo.

None of it starts or stops a container; nothing of the pipeline needs it.
"""

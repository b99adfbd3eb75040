# Airflow with this project in it. `docker build .` gives what staging and production run;
# `--target demo` adds the simulated HubSpot. docs/deploy.md#image
#
# A digest is stronger than a tag: --build-arg AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.12@sha256:…
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.12

# The ARG above is a pinned tag; hadolint can't see that.
# hadolint ignore=DL3006
FROM ${AIRFLOW_IMAGE} AS base

USER 0:0
# New volumes take owner and mode from the directory they are mounted on.
# PostgreSQL and Redis, other users, must get into the last two.
RUN install -d -o 50000 -g 0 -m 0750 /run/secrets && \
    install -d -o 50000 -g 0 -m 0755 /run/secrets-owner /run/secrets-broker

USER 50000:0
COPY requirements-image.txt /opt/airflow/requirements-image.txt
RUN pip install --no-cache-dir --require-hashes -r /opt/airflow/requirements-image.txt

# The code belongs to root: what runs as airflow can't change it.
COPY dags /opt/airflow/dags
COPY plugins /opt/airflow/plugins
COPY include /opt/airflow/include
# the runbook is shown inside Airflow
COPY docs /opt/airflow/docs
# An empty file: everything is set by the environment. Without one Airflow would want to write one.
COPY include/ops/compose/profiles/airflow.cfg /opt/airflow/airflow.cfg

WORKDIR /opt/airflow
ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONPATH=/opt/airflow:/opt/airflow/include/airflow_provider/site \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# The containers' root is read-only: bytecode is made now or never. And what can't be imported fails here.
USER 0:0
RUN python -m compileall -q /opt/airflow/dags /opt/airflow/plugins /opt/airflow/include
USER 50000:0
RUN python -c "import include.pipeline.extract_deals, include.pipeline.check_quality, include.pipeline.validate_token, include.web.app"

FROM base AS demo
COPY tests/__init__.py /opt/airflow/tests/__init__.py
COPY tests/hubspot_simulator /opt/airflow/tests/hubspot_simulator

FROM base AS runtime

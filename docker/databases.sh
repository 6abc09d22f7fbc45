#!/bin/sh
# Run once by Postgres when its volume is empty: a database each for Airflow and MLflow, of users that can do nothing
# outside of it, and a user for workers, whom docker/setup.py lets at the results of Celery and at nothing else.
psql --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --quiet --set=ON_ERROR_STOP=1 <<SQL
CREATE ROLE airflow LOGIN PASSWORD '$AIRFLOW_DB_PASSWORD';
CREATE ROLE mlflow LOGIN PASSWORD '$MLFLOW_DB_PASSWORD';
CREATE ROLE worker LOGIN PASSWORD '$WORKER_DB_PASSWORD';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE ALL ON DATABASE airflow, mlflow, "$POSTGRES_DB", postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE airflow TO worker;
SQL

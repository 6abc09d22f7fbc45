-- Run once by Postgres when its volume is empty; Airflow's own database is made by POSTGRES_DB.
CREATE DATABASE mlflow;

"""The embedded system: Airflow and MLflow on loopback, the chain run through them, and what it made.

In: a checkout and a folder for state. Out: running services, or one chain from scenes to a drift verdict and a table.
"""

"""The Swath page of Airflow's navigation: a FastAPI app of small parts, each a file, a template and its routes.

Everything is behind Airflow's login (``app.py``). What is shown comes from ``pipelines``; scripts and styles lie here
or in Python packages, so that the page works with no network.
"""

"""What Airflow lacks for Swath: operators, the git watcher, notices and the page. Imports pipelines, never dags."""

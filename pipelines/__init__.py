"""All of Swath's work, as plain functions. Nothing here knows that Airflow exists."""

"""What Airflow loads from this folder."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from plugins import listener

_OF_RUN = "/swath/of/{DAG_ID}/{RUN_ID}"


async def page(scope: Any, receive: Any, send: Any) -> None:
    """The Swath page as an ASGI application, imported at its first request: tasks load plugins too."""
    from plugins.pages.app import app

    await app(scope, receive, send)


class SwathPlugin(AirflowPlugin):
    """Tidying after runs, and the Swath page in Airflow's navigation."""

    name = "swath"
    listeners = [listener]  # noqa: RUF012 - as Airflow declares it
    fastapi_apps = [{"app": page, "url_prefix": "/swath", "name": "Swath"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Swath", "href": "/swath/", "destination": "nav", "url_route": "swath"},
        # a tab beside those of Airflow on each run and each task, with the part of the page that it is about
        {"name": "Swath", "href": _OF_RUN, "destination": "dag_run", "url_route": "swath-run"},
        {"name": "Swath", "href": _OF_RUN, "destination": "task_instance", "url_route": "swath-task"},
    ]

"""Who asks, and what he may: decided by Airflow's own auth manager.

A tenant is its DAG: who may read the DAG's runs sees its scans, who may create runs starts scans,
who may change runs cancels them.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from fastapi import Depends, Request

from include.web.problems import Code, Problem

Method = Literal["GET", "POST", "PUT"]
User = Annotated[BaseUser, Depends(get_user)]


def visible_dag_ids(user: BaseUser) -> set[str]:
    """Return the DAGs whose runs *user* may read."""
    manager = get_auth_manager()
    dag_ids: set[str] = manager.get_authorized_dag_ids(user=user, method="GET")
    if manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.RUN, user=user):
        return dag_ids
    # not the right to read runs in general: it may be given for single DAGs
    return {dag_id for dag_id in dag_ids if may(user, "GET", dag_id)}


def may(user: BaseUser, method: Method, dag_id: str) -> bool:
    """Return whether *user* may read, create or change the runs of a DAG."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=details, user=user
    )


def require(user: BaseUser, method: Method, dag_id: str, what: str) -> None:
    """Raise a problem unless *user* may. A user who may not even read learns nothing of the DAG."""
    if not may(user, "GET", dag_id):
        raise not_found(what)
    if method != "GET" and not may(user, method, dag_id):
        doing = "start scans" if method == "POST" else "cancel or retry scans"
        raise Problem(
            Code.FORBIDDEN,
            f"You may read the runs of DAG {dag_id}, but not {doing}.",
            remedy="Ask an Airflow administrator for the permission on the DAG's runs.",
        )


def not_found(what: str, hint: str = "") -> Problem:
    return Problem(Code.NOT_FOUND, f"There is no such {what}, or you may not see it{hint}.")


def require_same_origin(request: Request) -> None:
    """Refuse what another site makes a browser send: browsers send cookies with it.

    A token in the Authorization header was put there by the sender of the request.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        is_own = origin is not None and urlsplit(origin).netloc == request.url.netloc
    if not is_own:
        raise Problem(
            Code.CROSS_SITE,
            "A request that changes something and is authenticated by a cookie must come from a "
            "page of this Airflow (headers Sec-Fetch-Site, Origin).",
            remedy="Programs send the header Authorization: Bearer <token> instead.",
        )


SameOrigin = Depends(require_same_origin)
